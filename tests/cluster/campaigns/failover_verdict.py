"""What a failover did, from what publishers were answered and subscribers were given: pure.

A publication is *lost* when it was answered and the final master's stream does not have it in its place. A loss must be
*told*: the epoch is another, and every subscriber of the channel begins again. Whatever else is missing is *silent*.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Placed = tuple[str, int]  # (epoch, offset)


@dataclass(frozen=True, slots=True)
class Kept:
    """A channel as the final master has it. `entries`: offset → number."""

    epoch: str
    entries: Mapping[int, int]


@dataclass(slots=True)
class Span:
    """What a subscriber was given from one position on, without being told of a gap: (offset, number) each."""

    epoch: str
    offset: int
    got: list[tuple[int, int]] = field(default_factory=list)

    @property
    def top(self) -> int:
        """Where it stands."""
        return self.got[-1][0] if self.got else self.offset


def generation(epoch: str) -> str:
    """What changes when something was lost; the rest of an epoch may differ before a channel has a stream."""
    return epoch.partition(".")[0]


def lost(answered: Mapping[int, Placed], kept: Kept) -> list[int]:
    """The numbers that were answered and are not where they were put."""
    return [n for n, (epoch, offset) in answered.items() if epoch != kept.epoch or kept.entries.get(offset) != n]


def stream_faults(answered: Mapping[int, Placed], kept: Kept) -> list[str]:
    """What is silently wrong with a channel's stream; empty when nothing is."""
    faults = [
        f"{n} was answered at {answered[n][1]} of the epoch that is still current, and is not there"
        for n in lost(answered, kept)
        if answered[n][0] == kept.epoch
    ]
    numbers = list(kept.entries.values())
    faults += [f"{n} is there {numbers.count(n)} times" for n in set(numbers) if numbers.count(n) > 1]
    return faults


def subscriber_faults(spans: Sequence[Span], kept: Kept) -> list[str]:
    """What one subscriber misses without having been told; empty when nothing is."""
    faults = []
    for span in spans:
        offsets = [span.offset, *(offset for offset, _ in span.got)]
        faults += [
            f"{after} came after {before} of {span.epoch}" for before, after in pairwise(offsets) if after != before + 1
        ]
        if span.epoch == kept.epoch:
            wrong = [(o, n) for o, n in span.got if kept.entries.get(o) != n]
            faults += [f"at {o} it was given {n}, and history has {kept.entries.get(o)}" for o, n in wrong]
    last, top = spans[-1], max(kept.entries, default=0)
    if generation(last.epoch) != generation(kept.epoch) or last.top < top:
        faults.append(f"it stands at {last.top} of {last.epoch}, the stream at {top} of {kept.epoch}")
    return faults


def longest_pause(moments: Iterable[float], since: float, begun_within: float = float("inf")) -> tuple[float, float]:
    """(its length, its end) of the longest time from `since` on that passed without one of the moments, and that began
    within so many seconds: a busy machine pauses at any time."""
    later = [since, *sorted(moment for moment in moments if moment > since)]
    found = ((after - before, after) for before, after in pairwise(later) if before <= since + begun_within)
    return max(found, default=(float("inf"), float("inf")))


def middle_and_most(figures: Sequence[float]) -> str:
    """The median and the greatest of some figures, in words."""
    ordered = sorted(figures)
    return f"{ordered[len(ordered) // 2]:.1f} ({ordered[-1]:.1f})" if ordered else "-"
