"""Fan-out: one room, everybody in it, somebody outside publishes. And the same under light load, for latency alone."""

from functools import partial

from tests.bench.jobs.base import Job, Plan, Stage, best_rate
from tests.bench.load import Figures, payload
from tests.bench.servers.base import Shape

EVERYBODY = (
    "flotilla",
    "flotilla-unjoined",
    "flotilla-pure",
    "flotilla-protobuf",
    "flotilla-http-stream",
    "flotilla-sse",
    "cfloor",
    "cfloor-joined",
    "socketio",
    "ws",
    "nchan",
    "centrifuge",
    "nats",
    "stock-core",
    "stock-pubsub",
    "stock-core-uvicorn",
    "stock-pubsub-uvicorn",
)
FAST = tuple(name for name in EVERYBODY if "core" not in name)
SEVERAL = ("flotilla", "centrifuge", "socketio")
COLUMNS = {
    "per_second": "deliveries/s",
    "p99_ms": "p99, ms",
    "us_each": "CPU µs each",
    "flood": "under backlog, deliveries/s",
    "flood_us_each": "CPU µs each under backlog",
    "client_load": "load client, cores",
}


def one_room(_: Plan) -> Shape:
    """Everybody in room 0."""
    return Shape(message=payload())


def fan_out(stage: Stage, clients: int) -> Figures:
    """The best rate with p99 under 250 ms and nothing lost."""
    return best_rate(stage, stage.plan.size(clients, clients // 10))


def light(stage: Stage) -> Figures:
    """Latency at ten publications a second to 500."""
    stage.ensure(stage.plan.size(500, 50))
    stage.run(stage.plan.seconds(2), rate=10)
    figures = stage.run(stage.plan.seconds(12), rate=10)
    latency = figures["latency"]
    return {
        "p50_ms": latency["p50"] / 1000,
        "p99_ms": latency["p99"] / 1000,
        "max_ms": latency["max"] / 1000,
        "us_each": figures["us_each"],
        "lost": figures["lost"],
        "client_load": figures["client_load"],
        "complaint": figures["complaint"],
    }


def _fan_out_job(clients: int, servers: tuple[str, ...]) -> Job:
    return Job(
        name=f"fanout-{clients}",
        title=f"Fan-out to {clients:,} subscribers: best rate with p99 < 250 ms and nothing lost",
        servers=servers,
        shape=one_room,
        measure=partial(fan_out, clients=clients),
        headline="per_second",
        columns=COLUMNS,
        panel=f"Deliveries/s to {clients:,} subscribers",
    )


def _processes_job(count: int) -> Job:
    words = {2: "two", 4: "four"}
    return Job(
        name="processes" if count == 2 else f"processes-{count}",
        title=f"Fan-out to 2,000 subscribers by one process and by {words[count]}",
        servers=tuple(name for kind in SEVERAL for name in (kind, f"{kind}-{count}")),
        shape=one_room,
        measure=partial(fan_out, clients=2000),
        headline="per_second",
        columns=COLUMNS,
        processes=count,
        notes=(
            f"With fewer than {2 * count} cores the processes, the load client and Redis share all of them, one "
            "process as well as several: then look at the CPU time of a delivery, which says what they would do with "
            "a core each.",
        ),
    )


JOBS = (
    _fan_out_job(500, EVERYBODY),
    _fan_out_job(2000, FAST),
    Job(
        name="light",
        title="Latency under light load: 10 publications/s to 500 subscribers",
        servers=FAST,
        shape=one_room,
        measure=light,
        headline="p50_ms",
        columns={
            "p50_ms": "p50, ms",
            "p99_ms": "p99, ms",
            "max_ms": "max, ms",
            "us_each": "CPU µs each",
            "lost": "lost",
            "client_load": "load client, cores",
        },
        more_is_better=False,
        panel="Latency at light load, p50, ms",
    ),
    _processes_job(2),
    _processes_job(4),
    Job(
        name="tls",
        title="Fan-out to 500 subscribers over TLS: best rate with p99 < 250 ms and nothing lost",
        servers=("flotilla", "flotilla-tls", "centrifuge-tls", "socketio-tls"),
        shape=one_room,
        measure=partial(fan_out, clients=500),
        headline="per_second",
        columns=COLUMNS,
        baseline="flotilla-tls",
        panel="Deliveries/s to 500 subscribers over TLS",
    ),
)
