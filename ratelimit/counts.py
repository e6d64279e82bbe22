"""What the limiter did, in numbers that only grow: monitoring reads them when it is asked.

Also the keys that were denied most since the last round of `background`, which takes them to Redis for the admin's
page. Their number is bounded.
"""

from bisect import bisect_left
from collections import Counter

ALLOWED = "allowed"
NEAR = "near"  # allowed, at 80 % of the quota or more
DENIED = "denied"
SHADOW = "shadow"  # would have been denied
FAILED_OPEN = "failed_open"
FAILED_CLOSED = "failed_closed"
FAILED_LOCAL = "local"  # decided in the process, whichever way
OUTCOMES = (ALLOWED, NEAR, DENIED, SHADOW, FAILED_OPEN, FAILED_CLOSED, FAILED_LOCAL)

TIMES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper bounds in seconds of the decision times; the last bucket has none."""

MAX_HOT = 1000  # keys remembered between two rounds


class Counts:
    """One process's numbers. Adding may happen in any thread; a reader may miss the newest."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()  # (policy, outcome)
        self.remembered = 0  # denials that cost no round trip
        self.times = [0] * (len(TIMES) + 1)
        self.time_sum = 0.0
        self._hot: Counter[tuple[str, str]] = Counter()

    def outcome(self, policy: str, outcome: str) -> None:
        """A policy decided."""
        self.outcomes[policy, outcome] += 1

    def took(self, seconds: float) -> None:
        """A decision that asked Redis took so long."""
        self.times[bisect_left(TIMES, seconds)] += 1
        self.time_sum += seconds

    def denied(self, policy: str, identity: str) -> None:
        """A key was denied."""
        if (policy, identity) in self._hot or len(self._hot) < MAX_HOT:
            self._hot[policy, identity] += 1

    def take_hot(self) -> Counter[tuple[str, str]]:
        """Denials per (policy, identity) since the last call."""
        hot, self._hot = self._hot, Counter()
        return hot
