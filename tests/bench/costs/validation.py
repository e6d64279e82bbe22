"""Is the model right? Whole runs of three sizes, each beside what the model says of it: within a quarter, or named.

Nothing here is used to make costs. The load client publishes evenly, each client in turn; the first seconds, in which
histories fill, are not measured.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from flotilla.ops.plan.costs import OWN, Costs, read
from flotilla.ops.plan.load import Load
from flotilla.ops.plan.usage import usage
from tests.bench.costs.experiments import on_stage
from tests.bench.costs.scales import Used
from tests.bench.costs.server import KEPT, Measured, OfUsers
from tests.bench.jobs.base import Plan
from tests.bench.load import AT_ONCE, payload
from tests.bench.output import WHERE
from tests.bench.servers.base import Shape

WITHIN = 0.25
SECONDS = 30.0
MEASURED = WHERE / "costs.json"


@dataclass(frozen=True, slots=True)
class Size:
    """A run: rooms of so many members, publications a second, bytes each; users or visitors."""

    name: str
    rooms: int
    members: int
    rate: float
    size: int
    users: bool

    @property
    def load(self) -> Load:
        """The same as the model is given it. Nobody comes or goes meanwhile."""
        connections = self.rooms * self.members
        return Load.of(
            users=connections if self.users else 0,
            visitors=0 if self.users else connections,
            rooms=self.rooms,
            rate=self.rate,
            size=self.size,
            history_size=KEPT,
            reconnects=0.0,
        )


SIZES = (
    Size("small", rooms=20, members=10, rate=50, size=120, users=True),
    Size("medium", rooms=100, members=10, rate=300, size=400, users=False),
    Size("large", rooms=80, members=50, rate=600, size=200, users=True),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of one size."""

    size: str
    what: str
    predicted: float
    measured: float

    @property
    def off(self) -> float:
        """By how much the prediction is above what was measured."""
        return self.predicted / self.measured - 1 if self.measured else float("inf")


def run(one: Size, plan: Plan) -> dict[str, float]:
    """What a size takes of an instance and its Redis."""
    shape = Shape(rooms=one.rooms, members=one.members, by_clients=True, namespace="whole", message=payload(one.size))
    with on_stage(OfUsers if one.users else Measured, shape, plan) as (stage, scales):
        stage.load.connect(one.rooms * one.members, AT_ONCE)
        fill = max(1.2 * KEPT * one.rooms / one.rate, 5.0)
        stage.load.run(plan.seconds(fill), rate=one.rate)
        scales.begin()
        figures = stage.load.run(plan.seconds(SECONDS), rate=one.rate)
        used: Used = scales.end()
        instance, redis = scales.held()
        return {
            "instance CPU, cores": used.instance_cpu / used.seconds,
            "Redis CPU, cores": used.redis_cpu / used.seconds,
            "instance memory, bytes": instance,
            "Redis memory, bytes": redis,
            "published": figures["published"] / used.seconds,
            "lost": figures["lost"],
            "p99, ms": figures["latency"]["p99"] / 1000,
        }


def predicted(one: Size, costs: Costs) -> dict[str, float]:
    """What the model says."""
    used = usage(one.load, costs, 1, 1)
    return {
        "instance CPU, cores": used.instance,
        "Redis CPU, cores": used.redis,
        "instance memory, bytes": used.instance_bytes,
        "Redis memory, bytes": used.redis_bytes,
    }


def compared(measured: dict[str, list[dict[str, float]]], costs: Costs) -> Iterator[Compared]:
    """Each size's medians beside the model's."""
    for one in SIZES:
        if one.name in measured:
            for what, value in predicted(one, costs).items():
                yield Compared(one.name, what, value, median(found[what] for found in measured[one.name]))


def table(rows: list[Compared]) -> str:
    """As Markdown."""
    lines = ["| | | predicted | measured | off by |", "|---|---|---:|---:|---:|"]
    for row in rows:
        if "bytes" in row.what:
            shown = [f"{value / 2**20:,.1f} MB" for value in (row.predicted, row.measured)]
        else:
            shown = [f"{value:.4f}" for value in (row.predicted, row.measured)]
        what = row.what.split(",")[0]
        lines.append(f"| {row.size} | {what} | {' | '.join(shown)} | {row.off:+.0%} |")
    return "\n".join(lines)


def main(quick: bool, rounds: int, kept: Path) -> int:
    """Run all sizes in turn, compare, say so; 1 when anything is further off than a quarter."""
    measured: dict[str, list[dict[str, float]]] = {}
    for number in range(rounds):
        for one in SIZES if number % 2 == 0 else reversed(SIZES):
            found = run(one, Plan(quick, print))
            measured.setdefault(one.name, []).append(found)
            print(f"{one.name}: {found}", flush=True)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(measured, indent=1) + "\n")
    return judge(measured)


def judge(measured: dict[str, list[dict[str, float]]]) -> int:
    """The table, and whether everything is within a quarter."""
    costs = read(MEASURED if MEASURED.exists() else OWN)
    rows = list(compared(measured, costs))
    for one in SIZES:
        print(f"{one.name}: {asdict(one)}")
    print(table(rows))
    far = [row for row in rows if abs(row.off) > WITHIN]
    print(f"{len(rows) - len(far)} of {len(rows)} within {WITHIN:.0%}")
    return 1 if far else 0
