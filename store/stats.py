"""Counting on hot paths: plain attributes and arrays made once, read from any thread by whoever asks.

Nothing here knows of Prometheus. One thread writes (the event loop's). A reader may see a count without the sum that
belongs to it, and sees both the next time. Times are seconds.
"""

import logging
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from flotilla.store.errors import StoreRefused
from flotilla.store.once import Once

logger = logging.getLogger("flotilla.store")

# A bound at exactly 0.1 s: the objectives count what took longer.
TIMES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """How many observations fell up to each bound (the bound itself included), and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = TIMES) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, which was seen so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def bucket(self, value: float) -> int:
        """The index in `counts` where a value is counted."""
        return bisect_left(self.bounds, value)


class Exemplar(NamedTuple):
    """One observation that a trace explains: its value, and when it was made (Unix seconds)."""

    trace_id: str
    value: float
    at: float


def quantile(q: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """The value below which a share `q` of the counted lies, assumed even within a bucket; None when there is none.

    What lies above the last bound counts as the last bound.
    """
    rank = q * sum(counts)
    if not rank:
        return None
    below, lower = 0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, bound
    return bounds[-1]


class RedisStats:
    """One Redis as this process meets it. `unavailable`: calls given up; `refused`: calls answered with an error."""

    __slots__ = ("_name", "_once", "commands", "connects", "refused", "round_trip", "unavailable")

    def __init__(self, name: str = "Redis") -> None:
        self._name = name
        self.commands = 0
        self.unavailable = 0
        self.refused = 0
        self.connects = 0
        self.round_trip = Histogram()
        self._once = Once()

    def refuse(self, error: StoreRefused) -> None:
        """Redis answered with an error: count it, and log it if its code has not been seen for a while."""
        self.refused += 1
        if self._once.news(error.code):
            logger.warning("%s answers with errors: %s", self._name, error)
