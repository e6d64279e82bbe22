"""Connections: a storm of them, and what an idle one costs in memory."""

import time
from functools import partial
from statistics import median

from tests.bench.jobs.base import Job, Plan, Stage
from tests.bench.load import AT_ONCE, Figures, payload
from tests.bench.servers.base import Shape

EVERYBODY = (
    "flotilla",
    "flotilla-pure",
    "flotilla-protobuf",
    "flotilla-http-stream",
    "flotilla-sse",
    "cfloor",
    "socketio",
    "ws",
    "nchan",
    "centrifuge",
    "nats",
    "stock-core",
    "stock-pubsub",
    "stock-pubsub-uvicorn",
)
ROOM = 50  # members of a room
WARM = 500  # clients before the first look at memory


def rooms_of_fifty(_: Plan) -> Shape:
    """Rooms of 50, as many as are needed."""
    return Shape(rooms=1_000, members=ROOM, message=payload())


def storm(stage: Stage, clients: int, concurrency: int, storms: int) -> Figures:
    """Connect and subscribe `clients`, `concurrency` at once, as often as `storms` says; the median counts."""
    count = stage.plan.size(clients, 100)
    stage.load.connect(min(count, 200), concurrency)
    rates, tails, cpu, own = [], [], [], []
    for _ in range(storms):
        stage.load.tell("disconnect")
        stage.meter.wait_quiet()
        before = stage.meter.cpu()
        figures = stage.load.connect(count, concurrency)
        cpu.append((stage.meter.cpu() - before) / count * 1e6)
        rates.append(count / figures["seconds"])
        tails.append(figures["joining"]["p99"] / 1000)
        own.append(figures["client_cpu"] / figures["seconds"])
        stage.plan.say(f"{rates[-1]:,.0f} connects/s, p99 {tails[-1]:.0f} ms")
    return {
        "per_second": median(rates),
        "p99_ms": median(tails),
        "us_each": median(cpu),
        "client_load": median(own),
    }


def memory(stage: Stage) -> Figures:
    """What each idle, subscribed connection adds: from a server that is warm already to 5,000 more.

    The second half by itself too: what the start left free in the heap hides in the first.
    """
    count = stage.plan.size(5_000, 200)
    stage.load.connect(stage.plan.size(WARM, 50))
    held = [_settled(stage)]
    for _ in range(2):
        stage.load.connect(count // 2)
        held.append(_settled(stage))
    return {
        "kb_each": (held[2] - held[0]) / count / 1024,
        "kb_late": (held[2] - held[1]) / (count // 2) / 1024,
        "connections": stage.load.tell("status")["ready"],
        "rss_mb": held[2] / 2**20,
    }


def _settled(stage: Stage) -> int:
    """Bytes held when nothing is left to do, and after the time that a garbage collector takes by itself."""
    stage.meter.wait_quiet()
    time.sleep(stage.plan.seconds(3))
    return stage.meter.resident()


def _storm_job(
    clients: int, concurrency: int, storms: int, servers: tuple[str, ...], name: str = "storm", how: str = ""
) -> Job:
    return Job(
        name=f"{name}-{clients}",
        title=f"A storm of {clients:,} clients that connect and subscribe{how}, {concurrency} at once",
        servers=servers,
        shape=rooms_of_fifty,
        measure=partial(storm, clients=clients, concurrency=concurrency, storms=storms),
        headline="per_second",
        columns={
            "per_second": "connects/s",
            "p99_ms": "p99, ms",
            "us_each": "CPU µs each",
            "client_load": "load client, cores",
        },
        baseline=servers[0],
        panel=f"Connects/s in a storm of {clients:,}{how}, {concurrency} at once",
    )


JOBS = (
    _storm_job(2000, AT_ONCE, 3, EVERYBODY),
    _storm_job(10000, 100, 1, ("flotilla", "flotilla-pure", "cfloor", "socketio", "ws", "centrifuge", "nats")),
    _storm_job(1000, AT_ONCE, 3, ("flotilla-tls", "centrifuge-tls", "socketio-tls"), name="tls-storm", how=" over TLS"),
    Job(
        name="memory",
        title="Memory of an idle, subscribed connection, 5,000 of them",
        servers=EVERYBODY,
        shape=rooms_of_fifty,
        measure=memory,
        headline="kb_each",
        columns={
            "kb_each": "KB each",
            "kb_late": "KB each, second half",
            "connections": "connections",
            "rss_mb": "all processes, MB",
        },
        more_is_better=False,
        panel="Memory of an idle connection, KB",
    ),
)
