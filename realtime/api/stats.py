"""How long the HTTP API's methods take and which errors they answer with, counted for the metrics.

One thread writes (the event loop's), any may read; where views run in several threads, a count may be lost.
"""

from collections import Counter, defaultdict
from functools import partial

from flotilla.store.stats import Histogram

TIMES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 4.0)  # seconds


class ApiStats:
    """By method: its times in seconds. By method and code: errors that it answered with."""

    def __init__(self) -> None:
        self.durations: dict[str, Histogram] = defaultdict(partial(Histogram, TIMES))
        self.errors: Counter[tuple[str, int]] = Counter()


api_stats = ApiStats()
