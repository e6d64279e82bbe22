"""What is judged of an attack, from what was measured: pure, and tested by itself.

Faults: a witness more than 250 ms later than at the other instance, or lost, or refused; memory that grew by 40 MB, or
has not come back; a status of 5xx, but 503 where the attack may be answered so; something unhandled in the log;
connections or threads that stay. Where the machine had no time to measure, that is said in place of lateness.
"""

from dataclasses import dataclass, field
from typing import Any

LATE = 250.0  # milliseconds
GROWTH = 40.0  # MB while it lasts
LEFT = 15.0  # MB that may stay: what an allocator keeps
CONNECTIONS_LEFT = 5
THREADS = 20
HELD_UP = 0.5  # part of the time that the witnesses may have been held up
WITHHELD = 0.75  # part of the time that the attacked process may have waited for a processor
FAULTS_SHOWN = 3


@dataclass
class Seen:
    """One attack, measured."""

    name: str
    what: str
    seconds: float
    unavailable: bool = False
    publications: dict[str, float] = field(default_factory=dict)
    pages: dict[str, float] = field(default_factory=dict)
    newcomers: dict[str, float] = field(default_factory=dict)
    witness_faults: list[str] = field(default_factory=list)
    memory: tuple[float, float, float] = (0, 0, 0)  # MB before, at most, and after
    connections: tuple[int, int] = (0, 0)  # before and after
    threads: tuple[int, int] = (0, 0)  # before and at most
    unhandled: list[str] = field(default_factory=list)
    died: bool = False
    held_up: float = 0.0
    withheld: float = 0.0
    attackers: dict[str, Any] = field(default_factory=dict)

    @property
    def statuses(self) -> dict[str, int]:
        """What the attackers were answered."""
        found: dict[str, int] = self.attackers.get("statuses", {})
        return found


@dataclass(frozen=True)
class Verdict:
    """`faults` for people; `measured`: whether lateness could be judged."""

    faults: list[str]
    measured: bool


def judge(seen: Seen) -> Verdict:
    """The verdict."""
    measured = seen.held_up <= HELD_UP and seen.withheld <= WITHHELD and bool(seen.publications.get("count"))
    faults = [*_harm(seen), *(_late(seen) if measured else [])]
    return Verdict(faults, measured)


def _late(seen: Seen) -> list[str]:
    kinds = (("publication", seen.publications), ("page", seen.pages), ("newcomer", seen.newcomers))
    return [f"a {what} {figures['late']:.0f} ms late" for what, figures in kinds if figures.get("late", 0) > LATE]


def _harm(seen: Seen) -> list[str]:
    faults = []
    if seen.died:
        faults.append("the instance died")
    faults += [f"{len(found)} × {found[0]}" for found in (seen.witness_faults,) if found]
    faults += seen.attackers.get("faults", [])
    before, most, after = seen.memory
    if most - before >= GROWTH:
        faults.append(f"memory grew by {most - before:.0f} MB")
    if after - before > LEFT:
        faults.append(f"{after - before:.0f} MB have not come back")
    if seen.connections[1] - seen.connections[0] > CONNECTIONS_LEFT:
        faults.append(f"{seen.connections[1] - seen.connections[0]} connections are still there")
    if seen.threads[1] - seen.threads[0] > THREADS:
        faults.append(f"{seen.threads[1] - seen.threads[0]} threads more")
    faults += [f"{count} answers of {status}" for status, count in seen.statuses.items() if _wrong(seen, status)]
    if seen.unhandled:
        faults.append(f"{len(seen.unhandled)} unhandled: {seen.unhandled[0][:150]}")
    return faults


def _wrong(seen: Seen, status: str) -> bool:
    return status.startswith("5") and status not in ("501", "505") and not (status == "503" and seen.unavailable)


def status(seen: list[Seen]) -> int:
    """The exit status: 0 nobody noticed anything, 1 somebody did, 2 not measured."""
    verdicts = [judge(one) for one in seen]
    if any(verdict.faults for verdict in verdicts):
        return 1
    return 0 if verdicts and all(verdict.measured for verdict in verdicts) else 2


def table(seen: list[Seen]) -> str:
    """For people: a line for each attack, and below it what was wrong."""
    width = max([len(one.name) for one in seen], default=10)
    titles = ("publication", "page", "newcomer", "MB more", "MB left", "answers")
    lines = [f"{'attack':{width}s} " + " ".join(f"{title:>11s}" for title in titles)]
    for one in seen:
        verdict = judge(one)
        before, most, after = one.memory
        late = [f"{figures.get('late', 0):8.0f} ms" for figures in (one.publications, one.pages, one.newcomers)]
        cells = [*late, f"{most - before:11.0f}", f"{after - before:11.0f}", _answers(one)]
        lines.append(
            f"{one.name:{width}s} "
            + " ".join(f"{cell:>11s}" for cell in cells)
            + ("" if verdict.measured else "  lateness NOT MEASURED")
        )
        lines += [f"{'':{width}s}   {fault}" for fault in verdict.faults]
    return "\n".join(lines)


def _answers(seen: Seen) -> str:
    return " ".join(f"{status}:{count}" for status, count in sorted(seen.statuses.items())) or "-"
