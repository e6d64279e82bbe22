"""What is wrong with what came of the outbox: pure, from the numbers of the messages alone.

`expected` is what was committed to a channel, in the order of the commits. History must be exactly that. A subscriber
may come later and miss an epoch's beginning, or what lay before a gap that it was told of; what it gets between two of
those (`Span`) must be without a hole, in the order of the commits, and nothing twice in an epoch.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = 5  # examples of each fault


@dataclass(slots=True)
class Span:
    """What a subscriber got from one position on, without being told of a gap: (offset, number) each."""

    epoch: str
    offset: int
    got: list[tuple[int, int]] = field(default_factory=list)


def history_faults(expected: Sequence[int], found: Sequence[int]) -> list[str]:
    """What is wrong with a channel's history; empty when it is exactly what was committed."""
    if list(expected) == list(found):
        return []
    committed = set(expected)
    counts = Counter(found)
    faults = [
        _named("missing", [number for number in expected if number not in counts]),
        _named("never committed", [number for number in counts if number not in committed]),
        _named("more than once", [number for number, count in counts.items() if count > 1]),
        _named("before what was committed earlier", _disordered(expected, found)),
    ]
    return [fault for fault in faults if fault]


def spans(events: Iterable[dict[str, Any]], channel: str) -> Iterator[Span]:
    """A subscriber's events, as `sdk.Recorder` has them, as spans."""
    span: Span | None = None
    for event in events:
        if event.get("channel") != channel:
            continue
        if event["event"] == "subscribed" and not (event["recovered"] and span is not None):
            if span is not None:
                yield span
            position = event["stream_position"]
            span = Span(position["epoch"], position["offset"])
        elif event["event"] == "publication":
            assert span is not None
            span.got.append((event["offset"], event["data"]["n"]))
    if span is not None:
        yield span


def span_faults(expected: Sequence[int], heard: Sequence[Span]) -> list[str]:
    """What is wrong with what one subscriber got of a channel."""
    faults, by_epoch = [], Counter[tuple[str, int]]()
    for span in heard:
        offsets = [offset for offset, _ in span.got]
        numbers = [number for _, number in span.got]
        if offsets != list(range(span.offset + 1, span.offset + 1 + len(offsets))):
            faults.append(f"offsets after {span.offset} in epoch {span.epoch}: {offsets[:SHOWN]} … {offsets[-SHOWN:]}")
        faults.append(_named("out of order", _disordered(expected, numbers)))
        faults.append(_named("never committed", [number for number in numbers if number not in set(expected)]))
        by_epoch.update((span.epoch, number) for number in numbers)
    again = [number for (_, number), count in by_epoch.items() if count > 1]
    faults.append(_named("more than once in an epoch", again))
    return [fault for fault in faults if fault]


def _disordered(expected: Sequence[int], found: Sequence[int]) -> list[int]:
    """Those that came after one that was committed later."""
    place = {number: index for index, number in enumerate(expected)}
    newest, late = -1, []
    for number in found:
        index = place.get(number, newest)
        if index < newest:
            late.append(number)
        newest = max(newest, index)
    return late


def _named(what: str, numbers: Sequence[int]) -> str:
    examples = ", ".join(map(str, numbers[:SHOWN]))
    return f"{len(numbers)} {what} ({examples}{', …' if len(numbers) > SHOWN else ''})" if numbers else ""
