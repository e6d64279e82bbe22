"""What a live model costs whoever saves its rows."""

from tests.bench.jobs.base import Job, Stage
from tests.bench.jobs.outbox import nobody
from tests.bench.load import Figures
from tests.bench.servers.relays import OutboxRelay

SAVES = 3_000


def saves(stage: Stage) -> Figures:
    """Saves of two models in turn. Raises AssertionError where a save was not exactly one publication."""
    server = stage.server
    assert isinstance(server, OutboxRelay)
    figures: Figures = server.saves(stage.plan.size(SAVES, 200))
    assert figures["publications"] == 1, figures
    return figures


JOBS = (
    Job(
        name="live-save",
        title=f"{SAVES:,} saves of a row that a live model shows, and of one that none does, in turn",
        servers=("save-postgresql", "save-sqlite"),
        shape=nobody,
        measure=saves,
        headline="added_p95_ms",
        columns={
            "plain_p50_ms": "p50, ms",
            "live_p50_ms": "p50, live, ms",
            "plain_p95_ms": "p95, ms",
            "live_p95_ms": "p95, live, ms",
            "added_p95_ms": "more at p95, ms",
            "publications": "publications of a save",
        },
        more_is_better=False,
        baseline="",
    ),
)
