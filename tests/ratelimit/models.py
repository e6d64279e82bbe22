"""Brute-force models of what each kind of rate promises: everything admitted is kept, every window is counted."""

from collections.abc import Sequence

from flotilla.ratelimit.algorithms.rates import TICKS, Rate

Stamps = Sequence[tuple[int, int]]
"""(µs, cost) of what was admitted, ascending."""


def most_in_any(stamps: Stamps, period: int) -> int:
    """The most that fell into any closed window of `period` µs; windows that begin at a stamp are enough."""
    return max((sum(c for s, c in stamps if at <= s <= at + period) for at, _ in stamps), default=0)


def gcra_overshoot(stamps: Stamps, rate: Rate) -> int:
    """By how many any stretch between two stamps exceeds burst + rate·T; never below 0."""
    worst = 0
    for i, (begin, _) in enumerate(stamps):
        taken = 0
        for at, cost in stamps[i:]:
            taken += cost
            allowed = rate.quota + (at - begin) * rate.count // rate.period_us
            worst = max(worst, taken - allowed)
    return worst


class TokenBucket:
    """GCRA as a bucket that fills: the same promise, kept another way, in exact fractions of a token."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.level = rate.quota * rate.interval  # in ticks
        self.at = 0

    def take(self, now: int, cost: int) -> bool:
        """Whether `cost` is there at `now` ticks."""
        self.level = min(self.rate.quota * self.rate.interval, self.level + now - self.at)
        self.at = now
        if self.level < cost * self.rate.interval:
            return False
        self.level -= cost * self.rate.interval
        return True


def ticks(us: int) -> int:
    """Microseconds as ticks."""
    return us * TICKS
