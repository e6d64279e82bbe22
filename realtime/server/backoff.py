"""How long to wait before what failed is started again: longer each time, never all at once, reset by success."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Pauses in seconds: `first` doubled with each failure up to `longest`, less a random part of up to a half."""

    first: float = 2.0
    longest: float = 30.0
    stayed_up: float = 20.0  # seconds of running after which it counts as well again
    jitter: Callable[[], float] = random.random
    failures: int = 0

    def pause(self, ran_for: float) -> float:
        """The pause after it ended, having run for that many seconds."""
        if ran_for >= self.stayed_up:
            self.failures = 0
        pause = min(self.longest, self.first * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return pause * (1 - self.jitter() / 2)
