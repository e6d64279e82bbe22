"""How long each hook of the project takes and what it answers, counted for the metrics.

There are as many hooks as the configuration names; beyond MAX_HOOKS the rest are counted together. One thread writes
(the event loop's), any may read.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from flotilla.store.stats import Histogram

MAX_HOOKS = 64
OTHER = "(other)"
TIMES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0)  # seconds
YES, NO, FAILED, ABSTAINED = OUTCOMES = ("yes", "no", "failed", "abstained")


class Call:
    """One call of a hook; whoever made it sets what came of it. It has failed until then."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome = FAILED


class HookStats:
    """By the hook's name: its times in seconds, and how often it gave each of the OUTCOMES."""

    def __init__(self) -> None:
        self.times: dict[str, Histogram] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def call(self, name: str) -> Iterator[Call]:
        """Time the call of a hook, however it ends."""
        call, began = Call(), perf_counter()
        try:
            yield call
        finally:
            self._note(name, perf_counter() - began, call.outcome)

    def _note(self, name: str, seconds: float, outcome: str) -> None:
        if name not in self.times and len(self.times) >= MAX_HOOKS:
            name = OTHER
        self.times.setdefault(name, Histogram(TIMES)).observe(seconds)
        self.outcomes[name, outcome] += 1


hook_stats = HookStats()
