"""Flotilla: real-time rooms, presence, history and recovery for Django.

    from realtime import publish
    publish("news", {"headline": "It works"})      # waits for the transaction's commit

The names below are loaded at their first use, so that this package can be imported before Django's apps are ready.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime.access.tokens import make_connection_token, make_subscription_token
    from realtime.api.python import (
        abroadcast,
        adisconnect,
        ahistory,
        apresence,
        apublish,
        aunsubscribe,
        broadcast,
        disconnect,
        history,
        presence,
        publish,
        unsubscribe,
    )

_TOKENS = ("make_connection_token", "make_subscription_token")

__all__ = [
    "abroadcast",
    "adisconnect",
    "ahistory",
    "apresence",
    "apublish",
    "aunsubscribe",
    "broadcast",
    "disconnect",
    "history",
    "make_connection_token",
    "make_subscription_token",
    "presence",
    "publish",
    "unsubscribe",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        module = "realtime.access.tokens" if name in _TOKENS else "realtime.api.python"
        return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
