"""The names of Flotilla's commands, and which of them another app of the project has, too.

A project may extend a command of ours under its name (a class derived from ours, in an app that stands earlier): then
that one is the command, by its short name and through `manage.py flotilla`.
"""

from pathlib import Path

from django.apps import AppConfig, apps
from django.core.management import find_commands, load_command_class
from django.core.management.base import BaseCommand

SELF = "flotilla"
_PACKAGE = "flotilla."


def is_ours(app: AppConfig) -> bool:
    """Whether an app is one of Flotilla's."""
    return app.name.startswith(_PACKAGE)


def our_commands() -> dict[str, str]:
    """Each command of Flotilla's installed apps, and the app that has it."""
    return {name: app.name for name, owners in _owners().items() for app in owners if is_ours(app)}


def load(name: str) -> BaseCommand:
    """Our command of this name, or the project's extension of it. Raises KeyError."""
    owners = _owners()[name]
    own = load_command_class(our_commands()[name], name)
    return load_command_class(owners[0].name, name) if _extends(owners[0], name, own) else own


def shared_names() -> dict[str, list[AppConfig]]:
    """Names of our commands that other apps have, too, with those apps in the order of INSTALLED_APPS, where the first
    has the name; ours is among them. Extensions of ours are none of these."""
    ours, found = our_commands(), {}
    for name, owners in sorted(_owners().items()):
        if name in ours and len(owners) > 1:
            own = load_command_class(ours[name], name)
            found[name] = [owner for owner in owners if is_ours(owner) or not _extends(owner, name, own)]
    return {name: owners for name, owners in found.items() if len(owners) > 1}


def _owners() -> dict[str, list[AppConfig]]:
    """The apps that have a command, by its name, in the order of INSTALLED_APPS."""
    found: dict[str, list[AppConfig]] = {}
    for app in apps.get_app_configs():
        for name in find_commands(str(Path(app.path) / "management")):
            found.setdefault(name, []).append(app)
    return found


def _extends(app: AppConfig, name: str, own: BaseCommand) -> bool:
    return isinstance(load_command_class(app.name, name), type(own))
