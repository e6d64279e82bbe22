"""Which series are judged, and what is flat for each. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.soak.slopes import LEAST_BLOCKS, Bound, Slope, Verdict, slope

WARM_UP = 1 / 3  # of the run, in which caches fill and what is kept for a time comes to its level

JUDGED: tuple[tuple[str, Bound, str], ...] = (
    (r"redis: data", Bound(0.25, 1.0), "MiB"),
    (r"redis: memory", Bound(0.25, 3.0), "MiB"),
    (r".*: memory", Bound(0.05, 2.0), "MiB"),
    (r".*: allocations", Bound(0.05, 5000), ""),
    (r".*: threads", Bound(0.0, 10), ""),
    (r"clients: not held by any", Bound(0.0, 20), ""),
    (r"redis: clients", Bound(0.0, 10), ""),
    (r".*: open files|.*: tasks|redis: keys.*|keys: .*|rows: .*", Bound(0.5, 50), ""),
    (r"bytes: .*", Bound(0.5, 50_000), ""),
    (r"log: bytes a sample", Bound(1.0, 2000), ""),
)
"""What the names of series match, the first that fits; how much they may grow in an hour; their unit. What fits none of
them is kept and not judged."""


@dataclass(frozen=True)
class Judged:
    """One series."""

    name: str
    unit: str
    slope: Slope
    bound: float  # units an hour
    verdict: Verdict


def bound_of(name: str) -> tuple[Bound, str] | None:
    """The bound and the unit of a series; None for what is not judged."""
    return next(((bound, unit) for pattern, bound, unit in JUDGED if re.fullmatch(pattern, name)), None)


def names_of(samples: Iterable[Mapping[str, float]]) -> list[str]:
    """All series, in order."""
    found: dict[str, None] = {}
    for sample in samples:
        found |= dict.fromkeys(sample)
    return list(found)


def judge(times: Sequence[float], samples: Sequence[Mapping[str, float]], warm_up: float = WARM_UP) -> list[Judged]:
    """The verdict of each series, over what came after the warm-up. What a sample does not have was 0 then. Raises
    ValueError where there are too few samples."""
    begins = times[0] + warm_up * (times[-1] - times[0]) if times else 0.0
    first = next((number for number, time in enumerate(times) if time >= begins), 0)
    if len(times) - first < LEAST_BLOCKS:
        raise ValueError(f"{len(times) - first} samples after the warm-up are too few: {LEAST_BLOCKS} at least")
    found = []
    for name in names_of(samples):
        if (known := bound_of(name)) is not None:
            bound, unit = known
            rise = slope(times[first:], [sample.get(name, 0.0) for sample in samples[first:]])
            found.append(Judged(name, unit, rise, bound.at(rise.level), rise.verdict(bound)))
    return found
