"""What a campaign comes to, for people: a table by fault, totals, the first violations, and whether it counts."""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

from tests.chaos.checker import Violation
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.log import (
    Acknowledged,
    Delivered,
    Event,
    FaultBegan,
    Healed,
    Opened,
    Settled,
    Subscribed,
    Told,
)

PUBLICATIONS, DELIVERIES = 6_000, 30_000  # a minute, at least
FAULTS_IN_FIVE = 3
SHOWN = 12  # violations of each kind
LIARS = "liar"  # how their names begin
MAX_CHARACTERS = 600  # characters of one
VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+|user of [\w-]+|/tmp/\S+")
COLUMNS = ("times", "publications", "deliveries", "told", "recovered", "unrecovered", "settled", "violations")


def least_faults(minutes: float) -> int:
    """How often each fault must have been made for a run of that length to count."""
    return max(1, int(FAULTS_IN_FIVE * minutes / 5))


class _Windows:
    """Which fault of each lane a moment belongs to: the last one that began."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._lanes: dict[str, tuple[list[float], list[str]]] = defaultdict(lambda: ([], []))
        for event in events:
            if isinstance(event, FaultBegan):
                times, names = self._lanes[event.lane]
                times.append(event.at)
                names.append(event.name)

    def at(self, moment: float) -> list[str]:
        """The faults' names, one of each lane that has begun."""
        found = []
        for times, names in self._lanes.values():
            if number := bisect_right(times, moment):
                found.append(names[number - 1])
        return found


def show(
    events: Sequence[Event],
    violations: Sequence[Violation],
    minutes: float,
    took: float,
    partial: bool = False,
    faults: Sequence[Fault] = FAULTS,
) -> int:
    """Print it, and return the exit status. `faults`: those that there are; `partial`: not all were wanted."""
    windows = _Windows(events)
    table = _table(events, violations, windows)
    width = max(len(fault.name) for fault in faults)
    print(f"\n{'fault':{width}s} " + " ".join(f"{column:>12s}" for column in COLUMNS))
    for fault in faults:
        row = table[fault.name]
        cells = [f"{row[column]:12.1f}" if column == "settled" else f"{row[column]:12.0f}" for column in COLUMNS]
        print(f"{fault.name:{width}s} " + " ".join(cells) + ("" if fault.lossless else "  loses"))
    publications = sum(isinstance(event, Acknowledged) for event in events)
    deliveries = sum(isinstance(event, Delivered) for event in events)
    made = sum(isinstance(event, FaultBegan) for event in events)
    print(f"\n{made} faults, {publications} publications, {deliveries} deliveries in {took:.0f} s")
    _healing(events)
    _violations(violations, windows)
    if violations:
        return 1
    missing = [] if partial else _unmeasured(table, publications, deliveries, minutes, faults)
    if missing:
        print(f"NOT MEASURED: {'; '.join(missing)}")
        return 2
    print("no violations")
    return 0


def _healing(events: Sequence[Event]) -> None:
    """How long after each kind of failover, or move of slots, everybody got again what was published."""
    rows: defaultdict[str, list[Healed]] = defaultdict(list)
    for event in events:
        if isinstance(event, Healed):
            rows[event.name].append(event)
    for name, found in rows.items():
        times = (_three([one.waited for one in found]), _three([one.took for one in found]))
        print(f"{name}, {len(found)} times: healed {times[0]} s after its end; it took {times[1]} s (min/median/max)")


def _three(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.2f}/{median(seconds):.2f}/{max(seconds):.2f}"


def _table(
    events: Sequence[Event], violations: Sequence[Violation], windows: _Windows
) -> defaultdict[str, Counter[str]]:
    table: defaultdict[str, Counter[str]] = defaultdict(Counter)
    liars: set[int] = set()
    for event in events:
        if isinstance(event, FaultBegan):
            table[event.name]["times"] += 1
        elif isinstance(event, Opened):
            if event.who.startswith(LIARS):
                liars.add(event.conn)
        elif (column := _column(event, liars)) is not None:
            for name in windows.at(event.at):
                table[name][column] += 1
        elif isinstance(event, Settled):
            for name in windows.at(event.at):
                table[name]["settled"] = max(table[name]["settled"], event.waited)  # type: ignore[assignment]
    for violation in violations:
        for name in windows.at(violation.at):
            table[name]["violations"] += 1
    return table


def _column(event: Event, liars: set[int]) -> str | None:
    """What an event counts for; how liars are answered counts for nothing."""
    if isinstance(event, Acknowledged):
        return "publications"
    if isinstance(event, Delivered):
        return "deliveries"
    if isinstance(event, Told | Subscribed) and event.conn in liars:
        return None
    if isinstance(event, Told):
        return "told"
    if isinstance(event, Subscribed) and event.claimed is not None:
        return "recovered" if event.recovered else "unrecovered"
    return None


def _violations(violations: Sequence[Violation], windows: _Windows) -> None:
    kinds = Counter(violation.kind for violation in violations)
    for kind, count in kinds.most_common():
        print(f"\n{count} × {kind}")
        rows: dict[str, list[Violation]] = defaultdict(list)
        for violation in violations:
            if violation.kind == kind:
                rows[VARYING.sub("…", violation.text) if kind == "log" else violation.text].append(violation)
        for row in list(rows.values())[:SHOWN]:
            first, again = row[0], f" ({len(row)} times)" if len(row) > 1 else ""
            text = first.text if len(first.text) < MAX_CHARACTERS else first.text[:MAX_CHARACTERS] + " …"
            print(f"  {first.at:7.2f} s  [{', '.join(windows.at(first.at))}]  {text}{again}")


def _unmeasured(
    table: defaultdict[str, Counter[str]], publications: int, deliveries: int, minutes: float, faults: Sequence[Fault]
) -> list[str]:
    """Why the run says too little; empty when it says enough."""
    least = least_faults(minutes)
    found = [
        f"{fault.name} {table[fault.name]['times']} times of {least}"
        for fault in faults
        if table[fault.name]["times"] < least
    ]
    for what, count, rate in (("publications", publications, PUBLICATIONS), ("deliveries", deliveries, DELIVERIES)):
        if count < rate * minutes:
            found.append(f"{count} {what} of {rate * minutes:.0f}")
    return found
