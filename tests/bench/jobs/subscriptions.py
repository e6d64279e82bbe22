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


def churn(stage: Stage) -> Figures:
    """Each of 200 clients subscribes to one more channel, leaves it, and goes on to the next.

    Raises AssertionError when anything was refused or not answered.
    """
    assert stage.server.churn is not None
    join, leave = stage.server.churn
    stage.ensure(VISITORS)
    words = {"channels": CHANNELS, "join": join.encode().hex(), "leave": leave.encode().hex()}

    def visits(seconds: float, cycles: int = 0) -> Figures:
        return stage.load.tell("churn", {**words, "seconds": seconds, "cycles": cycles}, within=seconds + 60)

    visits(stage.plan.seconds(2))
    before, redis_before = stage.meter.cpu(), stage.redis.cpu() if stage.redis else 0.0
    figures = visits(stage.plan.seconds(6))
    redis_cpu = stage.redis.cpu() - redis_before if stage.redis else 0.0
    if figures["unanswered"] or figures["refused"] or figures["dropped"]:
        raise AssertionError(f"not every visit was answered: {figures}")
    count = max(figures["cycles"], 1)
    return {
        "per_second": figures["cycles"] / figures["seconds"],
        "p99_ms": figures["took"]["p99"] / 1000,
        "us_each": (stage.meter.cpu() - before) / count * 1e6,
        "redis_us_each": redis_cpu / count * 1e6,
        "client_load": figures["client_cpu"] / figures["seconds"],
    }


def recovery(stage: Stage) -> Figures:
    """All but one of each room go, miss 50 publications, and come back at once, each to recover all of them; three
    times. Raises AssertionError when anybody was not given exactly what he missed."""
    shape = stage.server.shape
    returning = shape.rooms * ROOM
    stage.load.connect(shape.rooms * shape.members)
    found = []
    for _ in range(STORMS):
        stage.load.tell("drop")
        stage.meter.wait_quiet()
        missed = stage.load.run(120, window=100, publications=shape.rooms * MISSED)
        if missed["published"] != shape.rooms * MISSED or missed["lost"] or missed["errors"]:
            raise AssertionError(f"not everything was published: {missed}")
        stage.meter.wait_quiet()
        before, redis_before = stage.meter.cpu(), stage.redis.cpu() if stage.redis else 0.0
        back = stage.load.come_back()
        redis_cpu = stage.redis.cpu() - redis_before if stage.redis else 0.0
        faults = {name: back[name] for name in ("gaps", "late", "errors") if back[name]}
        if back["begun"] != returning or back["received"] != returning * MISSED or faults:
            raise AssertionError(f"not everybody was given what he missed: {back}")
        stage.plan.say(f"{returning / back['seconds']:,.0f} back a second")
        found.append(
            {
                "per_second": returning / back["seconds"],
                "p99_ms": back["joining"]["p99"] / 1000,
                "us_each": (stage.meter.cpu() - before) / returning * 1e6,
                "redis_us_each": redis_cpu / returning * 1e6,
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
