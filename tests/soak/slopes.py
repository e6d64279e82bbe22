"""Whether a series of samples grows. Pure.

The slope is Theil and Sen's: the median of the slopes between all pairs of points, which single outliers do not move.
Its interval is Sen's (1968), from Kendall's variance. That holds for points that say nothing of each other; those of
memory do, as it is now about as it was just before. So samples are taken together in blocks, by their medians, and the
variance is made larger by what neighbouring blocks still have in common (the first autocorrelation of what the line
leaves over).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import NormalDist, median

BLOCKS = 40
LEAST_BLOCKS = 8  # of fewer, no interval means anything
LEVEL = 0.95  # of the interval, on both sides
HOUR = 3600.0
HIDES = 8.0  # times the bound: growth of so much must be seen


class Verdict(StrEnum):
    """What a series does."""

    FLAT = "flat"
    GROWS = "grows"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Bound:
    """How fast a series may rise in an hour and still be called flat: a share of its level, or so much, whichever is
    more."""

    share: float
    least: float

    def at(self, level: float) -> float:
        """In units an hour."""
        return max(self.share * level, self.least)


@dataclass(frozen=True)
class Slope:
    """Units an hour, with the ends of the interval; `level` is the median of the samples, in units."""

    level: float
    per_hour: float
    low: float
    high: float

    def verdict(self, bound: Bound) -> Verdict:
        """Grows: the interval's lower end is above the bound. Unclear: the slope itself is, or so much lies within the
        interval that a leak could hide, as in a run that was too short. Else it is flat."""
        allowed = bound.at(self.level)
        if self.low > allowed:
            return Verdict.GROWS
        return Verdict.FLAT if self.per_hour <= allowed and self.high <= HIDES * allowed else Verdict.UNCLEAR


def slope(times: Sequence[float], values: Sequence[float]) -> Slope:
    """The slope of samples at `times`, in seconds, in order. Raises ValueError for too few of them."""
    if len(times) < LEAST_BLOCKS:
        raise ValueError(f"{len(times)} samples are too few: {LEAST_BLOCKS} at least")
    points = _blocks(times, values)
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for number, earlier in enumerate(points)
        for later in points[number + 1 :]
        if later[0] > earlier[0]
    )
    if not slopes:
        raise ValueError("all samples are of one moment")
    middle = median(slopes)
    low, high = _interval(slopes, points, middle)
    return Slope(median(values), middle * HOUR, low * HOUR, high * HOUR)


def _blocks(times: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    """The medians of at most BLOCKS stretches of about as many samples each."""
    count = min(BLOCKS, len(times))
    edges = [round(number * len(times) / count) for number in range(count + 1)]
    return [(median(times[first:last]), median(values[first:last])) for first, last in pairwise(edges) if last > first]


def _interval(slopes: Sequence[float], points: Sequence[tuple[float, float]], middle: float) -> tuple[float, float]:
    """The slopes at whose ranks the interval ends."""
    count = len(points)
    common = max(0.0, min(0.9, _autocorrelation([value - middle * time for time, value in points])))
    variance = count * (count - 1) * (2 * count + 5) / 18 * (1 + common) / (1 - common)
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt(variance)
    low, high = math.floor((len(slopes) - half) / 2), math.ceil((len(slopes) + half) / 2)
    return slopes[max(0, low)], slopes[min(len(slopes) - 1, high)]


def _autocorrelation(values: Sequence[float]) -> float:
    """The first: of each value with the one after it; 0 where nothing varies."""
    mean = sum(values) / len(values)
    deviations = [value - mean for value in values]
    whole = sum(one * one for one in deviations)
    if whole <= 1e-12 * max(1.0, mean * mean):
        return 0.0
    return sum(one * next_ for one, next_ in pairwise(deviations)) / whole
