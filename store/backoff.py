"""Pauses before what failed is tried again: longer each time, up to a bound, and never the same for two processes.

After an outage all processes have failed at the same moment; without the random part all would try again together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom

_chance = SystemRandom()  # not the process's own generator: a project may have seeded it, and threads call this


@dataclass(slots=True)
class Backoff:
    """Pauses in seconds: `first` doubled with each failure up to `longest`, less a random part of up to a half."""

    first: float = 0.05
    longest: float = 1.0
    jitter: Callable[[], float] = _chance.random
    failures: int = 0

    def next(self) -> float:
        """The pause after one more failure."""
        pause = min(self.longest, self.first * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return pause * (1 - self.jitter() / 2)

    def reset(self) -> None:
        """It worked: the next failure is a first one."""
        self.failures = 0


def jittered(pause: float) -> float:
    """One pause less a random part of up to a half, for pauses that do not grow."""
    return pause * _chance.uniform(0.5, 1)
