"""Rows that were committed on their way to Redis: how many a second, what each costs, and how late it comes."""

from tests.bench.jobs.base import Job, Plan, Stage
from tests.bench.load import Figures
from tests.bench.servers.base import Shape
from tests.bench.servers.relays import OutboxRelay, said

RATE = 100  # transactions a second, of one row each
WARM = 200
SECONDS = 10.0
HEARD_WITHIN = 90.0  # seconds


def nobody(_: Plan) -> Shape:
    """No clients."""
    return Shape()


def relayed(stage: Stage) -> Figures:
    """A backlog that one commit makes, and then rows that come one by one. Raises AssertionError when some get lost."""
    server = stage.server
    assert isinstance(server, OutboxRelay)
    _heard(server, WARM, 0)
    stage.meter.wait_quiet()
    rows = stage.plan.size(20_000, 1_000)
    before, databases = stage.meter.cpu(), server.databases.cpu()
    backlog = _heard(server, rows, 0)
    cpu, theirs = stage.meter.cpu() - before, server.databases.cpu() - databases
    one_by_one = _heard(server, int(stage.plan.seconds(SECONDS) * RATE), RATE)
    return {
        "per_second": rows / backlog["seconds"],
        "us_each": cpu / rows * 1e6,
        "databases_us_each": theirs / rows * 1e6,
        "p50_ms": one_by_one["p50_ms"],
        "p95_ms": one_by_one["p95_ms"],
        "lost": backlog["lost"] + one_by_one["lost"],
    }


def _heard(server: OutboxRelay, rows: int, rate: float) -> Figures:
    ear = server.ear(rows)
    server.fill(rows, rate)
    assert ear.wait(HEARD_WITHIN) == 0, ear.tail()
    figures: Figures = said(ear)[-1]
    assert figures["heard"] == rows, f"{figures} of {rows} rows: {server.server_processes[0].tail()}"
    return figures


JOBS = (
    Job(
        name="outbox",
        title=f"An outbox in PostgreSQL: a backlog of 20,000 rows, then {RATE} transactions a second",
        servers=("relay", "polled-table", "polled-table-notified"),
        shape=nobody,
        measure=relayed,
        headline="per_second",
        columns={
            "per_second": "rows/s of a backlog",
            "us_each": "CPU µs of a row",
            "databases_us_each": "PostgreSQL and Redis, µs of a row, writing it included",
            "p50_ms": "from a row's INSERT to Redis, p50, ms",
            "p95_ms": "p95, ms",
            "lost": "lost",
        },
        baseline="relay",
    ),
)
