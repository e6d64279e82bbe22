"""A circuit breaker: after some failures in a row nobody waits for Redis any more, except one probe now and then."""

import time
from collections.abc import Callable
from random import SystemRandom

from flotilla.store import Backoff

FAILURES = 3  # in a row
APART = 0.02  # seconds: failures that are closer together have one cause, and count as one
FIRST_PAUSE = 0.1  # seconds until the first probe
MAX_PAUSE = 1.0

_chance = SystemRandom()  # not the process's own generator, which a project may have seeded


class Breaker:
    """`closed()` says whether to ask Redis. Whoever asked then calls `succeeded` or `failed`."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = _chance.random
    ) -> None:
        self._clock = clock
        self._failures = 0
        self._backoff = Backoff(FIRST_PAUSE, MAX_PAUSE, jitter)
        self._pause = FIRST_PAUSE
        self._probe_at = 0.0
        self._failed_at = -APART

    @property
    def open(self) -> bool:
        """Whether Redis is known to be away."""
        return self._failures >= FAILURES

    def closed(self) -> bool:
        """Whether to ask. While open, True once a pause: that call is the probe."""
        if not self.open:
            return True
        now = self._clock()
        if now < self._probe_at:
            return False
        self._probe_at = now + self._pause
        return True

    def succeeded(self) -> None:
        """Redis answered."""
        self._failures = 0
        self._backoff.reset()

    def failed(self, *, for_long: bool = False) -> None:
        """Redis did not answer. `for_long`: it was silent for the whole time-out, so one failure is enough."""
        now = self._clock()
        if now < self._failed_at + APART and (self.open or not for_long):
            return
        self._failed_at = now
        self._failures = max(FAILURES, self._failures + 1) if for_long else self._failures + 1
        if self.open:
            self._pause = self._backoff.next()
        self._probe_at = now + self._pause
