"""The server HTTP API: publications by requests, one in each or a batch, over connections that are kept."""

from functools import partial

from tests.bench.jobs.base import Job, Plan, Stage
from tests.bench.load import Figures, payload
from tests.bench.servers.base import Shape
from tests.bench.servers.centrifuge import CentrifugeServer

LINKS = 8  # connections, each with one request under way
BATCH = 100


def rooms_of_one(_: Plan) -> Shape:
    """A room for each connection, with one who listens."""
    return Shape(rooms=LINKS, members=1, keeps=True, message=payload())


def publish(stage: Stage, batch: int) -> Figures:
    """Publications that arrived, per second, while each connection always has a request under way."""
    assert isinstance(stage.server, CentrifugeServer)
    stage.ensure(LINKS)
    stage.load.publish_through(stage.server.through_api(LINKS, batch))
    everything = LINKS * max(batch, 1) * 4
    stage.run(stage.plan.seconds(2), window=everything)
    figures = stage.run(stage.plan.seconds(6), window=everything)
    return {
        "per_second": figures["per_second"],
        "p99_ms": figures["latency"]["p99"] / 1000,
        "us_each": figures["us_each"],
        "redis_us_each": figures["redis_cpu"] / max(figures["received"], 1) * 1e6,
        "lost": figures["lost"],
        "errors": figures["errors"],
        "client_load": figures["client_load"],
        "complaint": figures["complaint"],
    }


def _job(name: str, title: str, batch: int) -> Job:
    return Job(
        name=name,
        title=title,
        servers=("flotilla", "flotilla-pure", "centrifuge"),
        shape=rooms_of_one,
        measure=partial(publish, batch=batch),
        headline="per_second",
        columns={
            "per_second": "publications/s",
            "p99_ms": "p99, ms",
            "us_each": "CPU µs each",
            "redis_us_each": "Redis, µs each",
            "lost": "lost",
            "errors": "refused",
            "client_load": "load client, cores",
        },
        panel=title,
    )


JOBS = (
    _job("api-publish", f"Publications by HTTP API, one in a request, {LINKS} requests under way", 0),
    _job("api-batch", f"Publications by HTTP API, {BATCH} in a batch, {LINKS} requests under way", BATCH),
)
