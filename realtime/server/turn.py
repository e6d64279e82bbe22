"""The end of a turn of the event loop: what connections send then, in one write with what else came up in it."""

import asyncio
from typing import Protocol


class Flushed(Protocol):
    """Somebody who waits for the end of a turn."""

    def flush(self) -> None:
        """The turn is over. Must not raise."""


class Turn:
    """Calls whoever was added in a turn, once, when all that was ready in it has been handled."""

    def __init__(self) -> None:
        self._waiting: list[Flushed] = []

    def add(self, waiting: Flushed) -> None:
        """Have `flush` called at the end of this turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._end)
        self._waiting.append(waiting)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.flush()
