"""Signals per scope and user, for other apps. A scope is "c:" + channel or "u:" + user id.

Sent once for a user's first connection in a scope and once after the last, in the one process that saw it, with
`scope`, `user` (id, "" = anonymous) and `incarnation` (whose connection it was). Receivers may be sync and use the
ORM; what they raise is logged and goes no further. When Redis was away a signal may be missing or come late: the
members are the truth.
"""

from typing import Any

from django.dispatch import Signal

user_joined = Signal()
user_left = Signal()


async def tell(signal: Signal, sender: type[Any], *, scope: str, user: str, incarnation: str) -> None:
    """Send one signal; costs nothing without receivers."""
    if not signal.has_listeners(sender):
        return
    await signal.asend_robust(sender=sender, scope=scope, user=user, incarnation=incarnation)  # logs what fails
