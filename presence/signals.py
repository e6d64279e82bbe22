"""Signals per scope and user, for other apps. What a scope is about is read with `scopes.Scope`.

Sent once for a user's first connection in a scope and once after the last, in the one process that saw it, with
`scope`, `user` (id, "" = anonymous) and `incarnation` (whose connection it was). They are sent from `receiver_queue`
soon after the fact, those of one user in one scope in their order. Receivers may be sync and use the ORM; what they
raise is logged and goes no further. When Redis was away a signal may be missing or come late: the members are the
truth.
"""

from functools import partial
from typing import Any

from django.dispatch import Signal

from flotilla.presence.receiver_queue import ReceiverQueue

user_joined = Signal()
user_left = Signal()


class UserSignals:
    """Sends both signals for one sender, through the queue."""

    def __init__(self, queue: ReceiverQueue, sender: type[Any]) -> None:
        self._queue = queue
        self._sender = sender

    def joined(self, scope: str, user: str, incarnation: str) -> None:
        """Have `user_joined` sent, soon; costs nothing without receivers."""
        self._put("user_joined", user_joined, scope, user, incarnation)

    def left(self, scope: str, user: str, incarnation: str) -> None:
        """Have `user_left` sent, soon; costs nothing without receivers."""
        self._put("user_left", user_left, scope, user, incarnation)

    async def room(self) -> None:
        """Return when the queue has room for a `user_joined`: at once without receivers."""
        if user_joined.has_listeners(self._sender):
            await self._queue.room()

    def _put(self, name: str, signal: Signal, scope: str, user: str, incarnation: str) -> None:
        if signal.has_listeners(self._sender):
            facts = {"scope": scope, "user": user, "incarnation": incarnation}
            self._queue.put((scope, user), name, partial(self._queue.send, name, signal, self._sender, **facts))
