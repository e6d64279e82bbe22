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
        self._last: dict[Hashable, asyncio.Future[None]] = {}

    def __len__(self) -> int:
        return len(self._last)

    def take(self, key: Hashable) -> "Turn":
        """A turn behind everything that was asked for `key` until now."""
        return Turn(self._last, key)


class Turn:
    """One operation's turn. `begin` waits for it; `end` gives it up and must be called, whatever happened."""

    __slots__ = ("_before", "_key", "_last", "_own")

    def __init__(self, last: "dict[Hashable, asyncio.Future[None]]", key: Hashable) -> None:
        self._last = last
        self._key = key
        self._before = last.get(key)
        self._own = last[key] = asyncio.get_running_loop().create_future()

    async def begin(self) -> None:
        """Return when what was asked for earlier is over; at once, most of the time."""
        if self._before is not None and not self._before.done():
            await asyncio.wait((self._before,))  # not the future itself: a caller that is cancelled must not cancel it

    def end(self) -> None:
        """Let the next one begin; if this one was given up while it waited, the next waits for the one before."""
        if self._before is not None and not self._before.done():
            self._before.add_done_callback(self._finish)
        else:
            self._finish()

    def _finish(self, _: object = None) -> None:
        if self._last.get(self._key) is self._own:
            del self._last[self._key]
        self._own.set_result(None)
