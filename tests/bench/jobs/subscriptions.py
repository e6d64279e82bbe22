"""Subscriptions that come and go: churn, and a storm of clients that come back to what they missed."""

from statistics import median

from tests.bench.jobs.base import Job, Plan, Stage
from tests.bench.load import Figures, payload
from tests.bench.servers.base import Shape

VISITORS = 200
CHANNELS = 1_000  # that are visited in turn: most of them have one subscriber at a time
ROOM = 50  # members that return, of each room
MISSED = 50  # publications of each room meanwhile
STORMS = 3


def rooms_of_fifty(_: Plan) -> Shape:
    """Rooms of 50 that keep history."""
    return Shape(rooms=1_000, members=ROOM, keeps=True, message=payload())


def those_who_return(plan: Plan) -> Shape:
    """2,000 clients in rooms of 50, and in each room one more, who stays and publishes."""
    return Shape(
        rooms=plan.size(2_000, 200) // ROOM,
        members=ROOM + 1,
        by_clients=True,
        first_only=True,
        keeps=True,
        message=payload(),
    )


def visits(stage: Stage, seconds: float, cycles: int = 0) -> Figures:
    """All who are there subscribe to one more channel, leave it and go on to the next, for so long or so often.

    Raises AssertionError when anything was refused or not answered.
    """
    assert stage.server.churn is not None
    join, leave = (text.encode().hex() for text in stage.server.churn)
    words = {"channels": CHANNELS, "join": join, "leave": leave, "seconds": seconds, "cycles": cycles}
    figures = stage.load.tell("churn", words, within=seconds + 60)
    if figures["unanswered"] or figures["refused"] or figures["dropped"]:
        raise AssertionError(f"not every visit was answered: {figures}")
    return figures


def churn(stage: Stage) -> Figures:
    """200 clients."""
    stage.ensure(VISITORS)
    visits(stage, stage.plan.seconds(2))
    before, redis_before = stage.meter.cpu(), stage.redis.cpu() if stage.redis else 0.0
    figures = visits(stage, stage.plan.seconds(6))
    redis_cpu = stage.redis.cpu() - redis_before if stage.redis else 0.0
    count = max(figures["cycles"], 1)
    return {
        "per_second": figures["cycles"] / figures["seconds"],
        "p99_ms": figures["took"]["p99"] / 1000,
        "us_each": (stage.meter.cpu() - before) / count * 1e6,
        "redis_us_each": redis_cpu / count * 1e6,
        "client_load": figures["client_cpu"] / figures["seconds"],
    }


def go_and_miss(stage: Stage) -> None:
    """All but the first of each room go, and 50 publications are made in each. Raises AssertionError if one fails."""
    wanted = stage.server.shape.rooms * MISSED
    stage.load.tell("drop")
    stage.connected = 0
    stage.meter.wait_quiet()
    figures = stage.load.run(120, window=100, publications=wanted)
    if figures["published"] != wanted or figures["lost"] or figures["errors"]:
        raise AssertionError(f"not everything was published: {figures}")
    stage.meter.wait_quiet()


def come_back(stage: Stage) -> Figures:
    """All who went return. Raises AssertionError when anybody was not given exactly what he missed."""
    shape = stage.server.shape
    figures = stage.load.come_back()
    wanted = {"begun": shape.rooms * ROOM, "received": shape.rooms * ROOM * MISSED, "gaps": 0, "late": 0, "errors": 0}
    if any(figures[name] != value for name, value in wanted.items()):
        raise AssertionError(f"not everybody was given what he missed: {figures}")
    stage.connected = shape.rooms * shape.members
    return figures


def recovery(stage: Stage) -> Figures:
    """Three times: all go, and come back at once."""
    shape = stage.server.shape
    stage.ensure(shape.rooms * shape.members)
    found = []
    for _ in range(STORMS):
        go_and_miss(stage)
        before, redis_before = stage.meter.cpu(), stage.redis.cpu() if stage.redis else 0.0
        back = come_back(stage)
        redis_cpu = stage.redis.cpu() - redis_before if stage.redis else 0.0
        count = back["begun"]
        stage.plan.say(f"{count / back['seconds']:,.0f} back a second")
        found.append(
            {
                "per_second": count / back["seconds"],
                "p99_ms": back["joining"]["p99"] / 1000,
                "us_each": (stage.meter.cpu() - before) / count * 1e6,
                "redis_us_each": redis_cpu / count * 1e6,
                "client_load": back["client_cpu"] / back["seconds"],
            }
        )
    return {name: median(one[name] for one in found) for name in found[0]}


_COSTS = {
    "p99_ms": "p99, ms",
    "us_each": "CPU µs each",
    "redis_us_each": "Redis, µs each",
    "client_load": "load client, cores",
}
JOBS = (
    Job(
        name="churn",
        title=f"Churn: {VISITORS} clients subscribe and unsubscribe, over {CHANNELS:,} channels",
        servers=("flotilla", "flotilla-pure", "socketio", "centrifuge", "nats"),
        shape=rooms_of_fifty,
        measure=churn,
        headline="per_second",
        columns={"per_second": "subscribed and left, per second", **_COSTS},
        panel="Subscribed and left, per second",
        notes=("Presence, history and recovery where the server has them; Socket.IO's and NATS's rooms have none.",),
    ),
    Job(
        name="recovery",
        title=f"A recovery storm: 2,000 clients come back, each to {MISSED} missed publications",
        servers=("flotilla", "flotilla-pure", "centrifuge"),
        shape=those_who_return,
        measure=recovery,
        headline="per_second",
        columns={"per_second": "back and recovered, per second", **_COSTS},
        panel=f"Clients a second that come back to {MISSED} missed publications",
    ),
)
