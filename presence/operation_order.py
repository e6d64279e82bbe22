"""The order of operations: what is asked about one connection in one scope happens in the order it was asked for.

Adds and removals of one (scope, client) belong to subscriptions that follow one another. So each waits until the one
before it is over, however that ended, and a removal never meets the entry of a newer subscription. Operations on other
connections do not wait. Nothing is kept about a connection once its last operation is over.
"""

import asyncio
from collections.abc import Hashable


class OperationOrder:
    """The last turn that was taken for each key, while it is not over. Use it from one event loop."""

    def __init__(self) -> None:
        self._last: dict[Hashable, Turn] = {}

    def __len__(self) -> int:
        return len(self._last)

    def take(self, key: Hashable) -> "Turn":
        """A turn behind everything that was asked for `key` until now."""
        return Turn(self._last, key)


class Turn:
    """One operation's turn. `begin` waits for it; `end` gives it up and must be called, whatever happened."""

    __slots__ = ("_before", "_key", "_last", "_over", "_told")

    def __init__(self, last: "dict[Hashable, Turn]", key: Hashable) -> None:
        self._last = last
        self._key = key
        self._before = last.get(key)  # None, too, once that is over
        self._over = False
        self._told: asyncio.Future[None] | None = None  # done when it is over; made when somebody waits for that
        last[key] = self

    async def begin(self) -> None:
        """Return when what was asked for earlier is over; at once, most of the time."""
        if self._before is not None and not self._before._over:
            await asyncio.wait((self._before._ended(),))  # not the future: who is cancelled must not cancel it
        self._before = None

    def end(self) -> None:
        """Let the next one begin; if this one was given up while it waited, the next waits for the one before."""
        if self._before is not None and not self._before._over:
            self._before._ended().add_done_callback(self._finish)
        else:
            self._finish()

    def _ended(self) -> "asyncio.Future[None]":
        if self._told is None:
            self._told = asyncio.get_running_loop().create_future()
        return self._told

    def _finish(self, _: object = None) -> None:
        if self._last.get(self._key) is self:
            del self._last[self._key]
        self._over, self._before = True, None
        if self._told is not None:
            self._told.set_result(None)
