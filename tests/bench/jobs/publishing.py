"""Clients that publish: as fast as goes, each into a room of its own; and many small rooms where everybody does."""

from tests.bench.jobs.base import Job, Plan, Stage, best_rate
from tests.bench.load import Figures, payload
from tests.bench.servers.base import Shape

PUBLISHERS = 50
WINDOW = 200  # publications under way: four of each publisher
WITH_REDIS = (
    "flotilla",
    "flotilla-pure",
    "socketio",
    "nchan",
    "centrifuge",
    "nats",
    "stock-core",
    "stock-pubsub",
    "stock-core-uvicorn",
    "stock-pubsub-uvicorn",
)


def publishers(_: Plan) -> Shape:
    """Each client alone in a room that keeps history."""
    return Shape(rooms=PUBLISHERS, members=1, by_clients=True, keeps=True, message=payload())


def small_rooms(plan: Plan) -> Shape:
    """A thousand rooms of five."""
    return Shape(rooms=plan.size(1_000, 40), members=5, by_clients=True, message=payload())


def publish_rate(stage: Stage) -> Figures:
    """Publications that came back to their publisher, per second, while a window of them is always under way."""
    stage.ensure(PUBLISHERS)
    window = min(WINDOW, stage.server.window)
    stage.run(stage.plan.seconds(2), window=window)
    figures = stage.run(stage.plan.seconds(6), window=window)
    return {
        "per_second": figures["per_second"],
        "p99_ms": figures["latency"]["p99"] / 1000,
        "us_each": figures["us_each"],
        "redis_us_each": figures["redis_cpu"] / max(figures["received"], 1) * 1e6,
        "lost": figures["lost"],
        "client_load": figures["client_load"],
        "complaint": figures["complaint"],
    }


def rooms(stage: Stage) -> Figures:
    """The best rate of all rooms together."""
    shape = stage.server.shape
    return best_rate(stage, shape.rooms * shape.members)


def _publish_job(name: str, title: str, servers: tuple[str, ...], processes: int = 0) -> Job:
    return Job(
        name=name,
        title=title,
        servers=servers,
        shape=publishers,
        measure=publish_rate,
        headline="us_each" if processes else "per_second",
        columns={
            "per_second": "publications/s",
            "p99_ms": "p99, ms",
            "us_each": "CPU µs each",
            "redis_us_each": "Redis, µs each",
            "lost": "lost",
            "client_load": "load client, cores",
        },
        more_is_better=not processes,
        panel="" if processes else f"Publications/s of {PUBLISHERS} clients through Redis",
        processes=processes,
    )


JOBS = (
    _publish_job(
        "publish", f"{PUBLISHERS} clients publish through Redis, with history where the server has it", WITH_REDIS
    ),
    _publish_job(
        "publish-processes",
        f"{PUBLISHERS} clients publish through one, two and four processes: what a publication costs",
        tuple(f"{kind}{count}" for kind in ("flotilla", "centrifuge", "socketio") for count in ("", "-2", "-4")),
        processes=4,
    ),
    Job(
        name="rooms",
        title="1,000 rooms × 5 members, all publishing: best rate with p99 < 250 ms and nothing lost",
        servers=(
            "flotilla",
            "flotilla-pure",
            "cfloor",
            "socketio",
            "ws",
            "nchan",
            "centrifuge",
            "nats",
            "stock-pubsub",
            "stock-pubsub-uvicorn",
        ),
        shape=small_rooms,
        measure=rooms,
        headline="per_second",
        columns={
            "per_second": "deliveries/s",
            "p99_ms": "p99, ms",
            "us_each": "CPU µs each",
            "flood": "under backlog, deliveries/s",
            "client_load": "load client, cores",
        },
        panel="Deliveries/s in 1,000 rooms of 5",
    ),
)
