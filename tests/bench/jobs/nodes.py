"""Publications with history on one, two and three Redises: what each part of the work costs, and which is full first.

On few cores the parts take turns, and no rate can grow with the number of Redises. What grows is what they could do
with a core each: a rate at which the busiest of them has no time left. That is computed, from the CPU time of a
publication.
"""

from tests.bench.jobs.base import Job, Plan, Stage
from tests.bench.load import Figures, LoadError, payload
from tests.bench.machine import Meter
from tests.bench.servers.base import Shape
from tests.bench.servers.nodes import CLUSTERED, SHARDED, OnNodes

ROOMS = 300
WINDOW = 200
LIGHT = 200.0  # publications a second


def many_rooms(plan: Plan) -> Shape:
    """Each client alone in a room that keeps history: enough rooms to be spread evenly."""
    return Shape(rooms=plan.size(ROOMS, 30), members=1, by_clients=True, keeps=True, message=payload())


def measure(stage: Stage) -> Figures:
    """Under backlog: the rate, and the CPU of each part. At a light load: latency."""
    assert isinstance(stage.server, OnNodes)
    stage.ensure(stage.server.shape.rooms)
    meters = [Meter([node.pid]) for node in stage.server.all_nodes]
    stage.run(stage.plan.seconds(2), window=WINDOW)
    before = [meter.cpu() for meter in meters]
    flood = stage.run(120, window=WINDOW, publications=stage.plan.size(30_000, 500))
    used = [meter.cpu() - was for meter, was in zip(meters, before, strict=True)]
    light = stage.run(stage.plan.seconds(4), rate=LIGHT)
    for figures in (flood, light):
        if any(figures[fault] for fault in ("lost", "gaps", "late", "errors", "dropped")):
            raise LoadError(f"not everything arrived, once and in order: {figures}")
    each = [seconds / flood["published"] * 1e6 for seconds in used]
    instance = flood["server_cpu"] / flood["published"] * 1e6
    return {
        "per_second": flood["published"] / flood["seconds"],
        "us_each": instance,
        "redis_us_each": sum(each),
        "busiest_us": max(each),
        "redis_ceiling": 1e6 / max(each),
        "instances": max(each) and instance / max(each),
        "p50_ms": light["latency"]["p50"] / 1000,
        "p99_ms": light["latency"]["p99"] / 1000,
        "client_load": flood["client_load"],
    }


JOBS = (
    Job(
        name="nodes",
        title="Publications with history on one, two and three Redises",
        servers=tuple(kind.name for kind in (*SHARDED, *CLUSTERED)),
        shape=many_rooms,
        measure=measure,
        headline="busiest_us",
        columns={
            "per_second": "publications/s here",
            "us_each": "instance, CPU µs each",
            "redis_us_each": "all Redises, CPU µs each",
            "busiest_us": "the busiest Redis, CPU µs each",
            "redis_ceiling": "computed: publications/s at which it is full",
            "instances": "computed: instances, each with a core, that fill it",
            "p50_ms": f"{LIGHT:.0f} a second: p50, ms",
            "p99_ms": "p99, ms",
        },
        more_is_better=False,
        panel="The busiest Redis: CPU µs of a publication",
        baseline="",
        notes=(
            "Instance, load client and all Redises share two cores: the measured rates cannot grow with the number "
            "of Redises. What is computed is 1 / the CPU time that a publication takes of the busiest Redis.",
        ),
    ),
)
