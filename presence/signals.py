"""Signals per scope and user, for other apps. A scope is "c:" + channel or "u:" + user id.

Sent once for a user's first connection in a scope and once after the last, in the one process that saw it, with
`scope`, `user` (id, "" = anonymous) and `incarnation` (whose connection it was). They are sent from the lane (`lane`)
soon after the fact, those of one user in one scope in their order. Receivers may be sync and use the ORM; what they
raise is logged and goes no further. When Redis was away a signal may be missing or come late: the members are the
truth.
"""

from functools import partial
from typing import Any

from django.dispatch import Signal

from flotilla.presence.lane import Lane

user_joined = Signal()
user_left = Signal()


def tell(lane: Lane, name: str, sender: type[Any], *, scope: str, user: str, incarnation: str) -> None:
    """Have the signal of this name sent, soon; costs nothing without receivers."""
    signal = user_joined if name == "user_joined" else user_left
    if signal.has_listeners(sender):
        facts = {"scope": scope, "user": user, "incarnation": incarnation}
        lane.put((scope, user), name, partial(lane.send, name, signal, sender, **facts))
