"""Says whether something is news, so that a fault that lasts is in the log once, and not at every call."""

import time
from collections.abc import Callable, Hashable

QUIET = 60.0  # seconds: what has not happened for so long is news again
MAX = 256  # things remembered; more than that are forgotten together


class Once:
    """`news(kind)` is True for the first of a series. Any thread may ask; two at once may both be told True."""

    def __init__(self, quiet: float = QUIET, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._last: dict[Hashable, float] = {}

    def news(self, kind: Hashable) -> bool:
        """Note that `kind` happened; True unless it has happened within the last `quiet` seconds."""
        now = self._clock()
        last = self._last.get(kind)
        if len(self._last) >= MAX and last is None:
            self._last.clear()
        self._last[kind] = now
        return last is None or now - last > self._quiet
