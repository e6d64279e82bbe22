"""Flotilla: real-time rooms, presence, history and recovery for Django.

    from flotilla import publish
    publish("news", {"headline": "It works"})      # waits for the transaction's commit

Everything is imported from here: the public names (`_public` lists them), and the packages `flotilla.realtime`,
`flotilla.presence`, `flotilla.ratelimit`, `flotilla.monitoring` and `flotilla.store`. In a checkout those packages lie
beside this one and are linked from here; under their bare names they refuse to be imported (`_names`).

The names are loaded at their first use, so that this package can be imported before Django's apps are ready.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flotilla.version import VERSION

if TYPE_CHECKING:
    from flotilla._public import *  # noqa: F403

__version__ = VERSION


def apps() -> list[str]:
    """The platform's apps, for INSTALLED_APPS: `[..., *flotilla.apps()]`."""
    return [f"flotilla.{name}" for name in ("realtime", "presence", "ratelimit", "monitoring", "ops")]


def __getattr__(name: str) -> Any:
    if name == "presence":
        return import_module("flotilla.presence")
    if name == "asgi":
        return import_module("flotilla._asgi").asgi  # needed before Django's apps are ready
    if (name.startswith("_") and name != "__all__") or find_spec(f"flotilla.{name}") is not None:
        raise AttributeError(f"module 'flotilla' has no attribute {name!r}")  # or it is a package, not imported yet
    try:
        return getattr(import_module("flotilla._public"), name)
    except AttributeError:
        raise AttributeError(f"module 'flotilla' has no attribute {name!r}") from None


class _Presence(ModuleType):
    """What `presence` is: the package of that name, and, called, the function of that name."""

    def __call__(self, channel: str) -> Any:
        return import_module("flotilla._public").presence(channel)


class _Flotilla(ModuleType):
    """This module: whoever imports `flotilla.presence` first, `from flotilla import presence` can be called."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "presence" and isinstance(value, ModuleType):
            value.__class__ = _Presence
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Flotilla
