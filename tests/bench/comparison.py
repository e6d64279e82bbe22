"""A figure of two revisions, pair by pair: the median ratio, how certain it is, and whether it became worse."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

LEAST_PAIRS = 6
"""With fewer, no interval holds the true median in 95 of 100 cases."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figure of both revisions; what stands at the same place was measured one right after the other."""

    base: Sequence[float]
    this: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """This tree's by BASE's, of each pair that has both."""
        return [ours / theirs for ours, theirs in zip(self.this, self.base, strict=True) if theirs]

    @property
    def ratio(self) -> float:
        """Their median; 1 where there is none."""
        return median(self.ratios or [1.0])

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true median is in 95 of 100 cases, however the ratios are distributed.

        That k of n lie on one side of the true median is as likely as k heads of n coins: as many are left out at each
        end as makes an error of 5 % at most.
        """
        ordered = sorted(self.ratios or [1.0])
        count, left_out = len(ordered), 0
        while _outside(count, left_out + 1) <= 0.05:
            left_out += 1
        return ordered[left_out], ordered[count - 1 - left_out]

    def worse(self, tolerance: float) -> bool:
        """Whether this tree costs more, beyond noise and the tolerance."""
        return len(self.ratios) >= LEAST_PAIRS and self.interval[0] > 1 + tolerance

    def verdict(self, tolerance: float) -> str:
        """In words."""
        if self.worse(tolerance):
            return "WORSE"
        return "better" if len(self.ratios) >= LEAST_PAIRS and self.interval[1] < 1 else "as before"


def _outside(count: int, left_out: int) -> float:
    """How likely the true median is not between what remains when so many of `count` are left out at each end."""
    return 2 * sum(comb(count, heads) for heads in range(left_out + 1)) / 2**count
