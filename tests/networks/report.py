"""What a campaign of networks comes to, for people: a row for each fault, the violations, and the totals."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.checker import Violation
from tests.chaos.log import Acknowledged, Closed, Delivered, Event, Opened, Subscribed, Told
from tests.networks.faults import Fault, all_of

WHOLE_WITHIN = 10.0  # seconds after a fault's end
LATE = 2.0  # seconds from being sent to arriving, above which a client has noticed
SHOWN = 12  # violations of each kind
MAX_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class Mark:
    """A fault that was made. Moments in the log's seconds; `settled` and `whole`: seconds after its end until everybody
    got what was sent from then on and all instances were ready, and until presence was right as well. `held_up`: this
    process itself stood still meanwhile, as on a machine that has other work; then it says nothing of time."""

    fault: Fault
    target: str
    began: float
    mended: float
    settled: float
    whole: float
    held_up: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What clients noticed of a fault: how many of them got something more than `LATE` after it was sent, the latest
    (seconds), connections that ended, subscriptions that were told of a loss or not recovered."""

    late: int
    latest: float
    ended: int
    told: int


def rows(events: Sequence[Event], marks: Sequence[Mark]) -> list[Row]:
    """One for each mark: from its beginning to the next one's, or the end."""
    times = [event.at for event in events]
    sent = {event.payload: event.sent for event in events if isinstance(event, Acknowledged)}
    names = {event.conn: event.who for event in events if isinstance(event, Opened)}
    untils = [*(mark.began for mark in marks[1:]), float("inf")]
    return [
        _row(events[bisect_left(times, mark.began) : bisect_right(times, until)], sent, names, mark.began)
        for mark, until in zip(marks, untils, strict=False)
    ]


def _row(events: Sequence[Event], sent: Mapping[int, float], names: Mapping[int, str], began: float) -> Row:
    late: set[str] = set()
    latest, ended, told = 0.0, 0, 0
    for event in events:
        if isinstance(event, Delivered) and sent.get(event.payload, 0.0) > began:
            took = event.at - sent[event.payload]
            latest = max(latest, took)
            if took > LATE:
                late.add(names.get(event.conn, ""))
        elif isinstance(event, Closed):
            ended += event.code != 0
        elif isinstance(event, Told):
            told += event.code >= 2500
        elif isinstance(event, Subscribed):
            told += event.claimed is not None and not event.recovered
    return Row(len(late), latest, ended, told)


def show(events: Sequence[Event], marks: Sequence[Mark], violations: Sequence[Violation], took: float) -> int:
    """Print it, and return the exit status."""
    titles = ("late", "latest", "ended", "told", "settled", "whole", "violations")
    width = max((len(mark.fault.name) for mark in marks), default=0)
    print(f"{'fault':{width}s} {'instance':>10s} " + " ".join(f"{title:>10s}" for title in titles))
    bad = _by_mark(violations, marks)
    for number, (mark, row) in enumerate(zip(marks, rows(events, marks), strict=True)):
        print(
            f"{mark.fault.name:{width}s} {mark.target:>10s} {row.late:10d} {row.latest:9.1f}s {row.ended:10d}"
            f" {row.told:10d} {mark.settled:9.1f}s {mark.whole:9.1f}{'s~'[mark.held_up]} {bad[number]:10d}"
        )
    if any(mark.held_up for mark in marks):
        print("~ this process itself was held up: the machine had other work, and this time says nothing")
    publications = sum(isinstance(event, Acknowledged) for event in events)
    deliveries = sum(isinstance(event, Delivered) for event in events)
    print(f"\n{len(marks)} faults, {publications} publications, {deliveries} deliveries in {took:.0f} s")
    for kind, count in Counter(violation.kind for violation in violations).most_common():
        print(f"\n{count} × {kind}")
        for violation in [one for one in violations if one.kind == kind][:SHOWN]:
            print(f"  {violation.at:7.2f} s  {violation.text[:MAX_CHARACTERS]}")
    if not violations:
        print("no violations")
    return 1 if violations else 0


def _by_mark(violations: Sequence[Violation], marks: Sequence[Mark]) -> Counter[int]:
    """How many belong to each mark: to the last one that had begun."""
    begun = [mark.began for mark in marks]
    return Counter(bisect_right(begun, violation.at) - 1 for violation in violations)


def not_whole(marks: Sequence[Mark]) -> list[Violation]:
    """Faults after which it took too long until everything was right again."""
    return [
        Violation("not whole", mark.mended, f"only {mark.whole:.1f} s after {mark.fault.name} everything was right")
        for mark in marks
        if mark.whole > WHOLE_WITHIN and not mark.held_up
    ]


def not_made(made: Mapping[str, int], seconds: float, skipped: Collection[str] = ()) -> list[str]:
    """Which faults of that time were never made, but for those that cannot be made here."""
    return [fault.name for fault in all_of(seconds) if not made.get(fault.name) and fault.name not in skipped]
