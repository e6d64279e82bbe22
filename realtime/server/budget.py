"""How much one connection may send: so many frames and so many bytes a second.

A client that keeps to both in every second is never refused. After a quiet second it may send twice as much in the
next, and never more than that. A second begins when what was allowed in the last one is used up, so that the clock is
not read for every frame: counting one is two subtractions.
"""

import sys
import time
from typing import NamedTuple

SECOND = 1.0


class Allowance(NamedTuple):
    """What a connection may send in a second; all connections of a server share one of these."""

    frames: int
    bytes: int


class Bounds(NamedTuple):
    """What is read of a connection: a message has at most so many bytes, and all of it keeps to an allowance."""

    message: int
    allowance: Allowance


UNBOUNDED = Allowance(sys.maxsize, sys.maxsize)


class Budget:
    """What is left of one connection's allowance."""

    __slots__ = ("_allowance", "_bytes", "_frames", "_since")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._frames, self._bytes = allowance
        self._since = 0.0  # when the second began, by the monotonic clock

    @property
    def bytes_left(self) -> int:
        """What may still come in this second."""
        return self._bytes

    def spend(self, frames: int, size: int) -> bool:
        """Count frames and bytes that have come; False when they are more than allowed."""
        self._frames -= frames
        self._bytes -= size
        return (self._frames >= 0 and self._bytes >= 0) or self._begin_second(frames, size)

    def _begin_second(self, frames: int, size: int) -> bool:
        now = time.monotonic()
        if now - self._since < SECOND:
            return False
        self._since = now
        self._frames = self._allowance.frames - frames
        self._bytes = self._allowance.bytes - size
        return self._frames >= 0 and self._bytes >= 0
