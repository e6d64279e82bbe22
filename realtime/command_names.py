"""The names of Flotilla's commands, and which of them another app of the project has, too."""

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
    return {name: app.name for app in apps.get_app_configs() if is_ours(app) for name in _commands(app)}


def load(name: str) -> BaseCommand:
    """Our command of this name. Raises KeyError."""
    return load_command_class(our_commands()[name], name)


def shared_names() -> dict[str, list[AppConfig]]:
    """Names of our commands that other apps have, too, with those apps in the order of INSTALLED_APPS, where the first
    has the name; ours is among them."""
    found: dict[str, list[AppConfig]] = {}
    for app in apps.get_app_configs():
        for name in _commands(app):
            if name in our_commands():
                found.setdefault(name, []).append(app)
    return {name: owners for name, owners in sorted(found.items()) if len(owners) > 1}


def _commands(app: AppConfig) -> list[str]:
    return find_commands(str(Path(app.path) / "management"))
