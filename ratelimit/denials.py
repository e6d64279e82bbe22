"""Denials remembered until their retry time, so that a flood costs no round trips.

Remembering is safe: until that time what a key has left can only shrink. Only an override or a reset gives it more, and
those clear everything here. Times are relative, on the process's own clock, and counted from before Redis was asked, so
nothing is remembered for longer than the denial lasts. Bounded.
"""

import time
from collections.abc import Callable

MAX = 20_000


class Denials:
    """Until when a (key, cost) is certainly denied."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MAX) -> None:
        self._clock = clock
        self._most = most
        self._until: dict[tuple[str, int], float] = {}

    def remember(self, key: str, cost: int, since: float, retry_after: float) -> None:
        """`since` is the clock's time before the decision was asked for; `retry_after` is in seconds."""
        if len(self._until) >= self._most:
            self._make_room()
        self._until[key, cost] = since + retry_after

    def left(self, key: str, cost: int) -> float:
        """Seconds for which it is certainly denied; 0 when Redis must be asked."""
        until = self._until.get((key, cost))
        if until is None:
            return 0.0
        left = until - self._clock()
        if left > 0:
            return left
        self._until.pop((key, cost), None)
        return 0.0

    def clear(self) -> None:
        """An override or a reset has arrived."""
        self._until = {}

    def _make_room(self) -> None:
        now = self._clock()
        live = {key: until for key, until in list(self._until.items()) if until > now}
        if len(live) >= self._most:
            live = dict(list(live.items())[self._most // 2 :])  # Redis is asked again about the oldest half
        self._until = live
