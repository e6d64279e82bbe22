"""Flotilla: real-time rooms, presence, history and recovery for Django.

    from flotilla import publish
    publish("news", {"headline": "It works"})      # waits for the transaction's commit

Everything is imported from here: the names below, and the packages `flotilla.realtime`, `flotilla.presence`,
`flotilla.ratelimit`, `flotilla.monitoring` and `flotilla.store`. In a checkout those packages lie beside this one and
are linked from here; under their bare names they refuse to be imported (`_names`).

The names are loaded at their first use, so that this package can be imported before Django's apps are ready.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flotilla.realtime.access.tokens import make_connection_token, make_subscription_token
    from flotilla.realtime.api.control import (
        adisconnect,
        areauthorize,
        arefresh,
        asubscribe,
        aunsubscribe,
        disconnect,
        reauthorize,
        refresh,
        subscribe,
        unsubscribe,
    )
    from flotilla.realtime.api.messaging import asend_message, send_message
    from flotilla.realtime.api.python import (
        abroadcast,
        ahistory,
        apresence,
        apublish,
        broadcast,
        history,
        presence,
        publish,
    )
    from flotilla.realtime.blocks.api import ablock, aunblock, block, unblock
    from flotilla.realtime.changes import Affected, affects

__all__ = [
    "Affected",
    "ablock",
    "abroadcast",
    "adisconnect",
    "affects",
    "ahistory",
    "apresence",
    "apublish",
    "areauthorize",
    "arefresh",
    "asend_message",
    "asubscribe",
    "aunblock",
    "aunsubscribe",
    "block",
    "broadcast",
    "disconnect",
    "history",
    "make_connection_token",
    "make_subscription_token",
    "presence",
    "publish",
    "reauthorize",
    "refresh",
    "send_message",
    "subscribe",
    "unblock",
    "unsubscribe",
]

_HOMES = {
    "flotilla.realtime.access.tokens": ("make_connection_token", "make_subscription_token"),
    "flotilla.realtime.api.python": ("broadcast", "history", "presence", "publish"),
    "flotilla.realtime.blocks.api": ("block", "unblock"),
    "flotilla.realtime.api.messaging": ("send_message",),
    "flotilla.realtime.api.control": ("disconnect", "reauthorize", "refresh", "subscribe", "unsubscribe"),
    "flotilla.realtime.changes": ("Affected", "affects"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_HOME |= {f"a{name}": module for name, module in _HOME.items() if module.startswith("flotilla.realtime.api.")}


def __getattr__(name: str) -> Any:
    if name == "presence":
        return import_module("flotilla.presence")
    if name in __all__:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Presence(ModuleType):
    """What `presence` is: the package of that name, and, called, the function of that name."""

    def __call__(self, channel: str) -> Any:
        return import_module(_HOME["presence"]).presence(channel)


class _Flotilla(ModuleType):
    """This module: whoever imports `flotilla.presence` first, `from flotilla import presence` can be called."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "presence" and isinstance(value, ModuleType):
            value.__class__ = _Presence
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Flotilla
