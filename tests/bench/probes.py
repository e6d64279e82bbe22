"""What revisions are compared by: jobs in short slices of the same work, each with what an operation of it costs."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.commandstats import CommandStats
from tests.bench.jobs import api, subscriptions
from tests.bench.jobs.base import Plan, Stage
from tests.bench.jobs.connections import rooms_of_fifty
from tests.bench.jobs.fanout import one_room
from tests.bench.jobs.publishing import PUBLISHERS, WINDOW, publishers
from tests.bench.load import AT_ONCE, Figures, LoadError, payload
from tests.bench.servers.base import Shape
from tests.bench.servers.centrifuge import CentrifugeServer
from tests.cluster.support.processes import PATIENCE

AT_MOST = 120.0  # seconds that a slice may take
PUBLICATIONS = 5_000  # of a slice: half a second of CPU
FANNED_OUT = 2_000
BY_REQUESTS = 500
STORM = 400  # clients that connect, AT_ONCE of them at a time
VISITS = 1_500
ROOMS = 6  # of 50 who return
ATTEMPTS = 4


class Disturbed(Exception):
    """A slice whose figures say nothing."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One job in slices. `slice` does some work and returns its figures, of which the `gated` may fail."""

    name: str
    shape: Callable[[Plan], Shape]
    slice: Callable[[Stage], Figures]
    figures: dict[str, str]  # figure → heading
    gated: tuple[str, ...]

    def undisturbed(self, stage: Stage) -> Figures:
        """A slice's figures; it is done again, a few times, where the machine stood still for seconds."""
        for _ in range(ATTEMPTS - 1):
            try:
                return self.slice(stage)
            except (Disturbed, LoadError) as error:
                stage.plan.say(f"{self.name}, once more: {error}")
                stage.load.tell("disconnect")
                stage.connected = 0
                stage.meter.wait_quiet()
        return self.slice(stage)


class Costs:
    """What server and Redis have used since this was made."""

    def __init__(self, stage: Stage) -> None:
        assert stage.redis is not None
        self._stage, self._redis = stage, stage.redis
        self._stats = CommandStats.of(stage.server.redis.port)
        self._cpu, self._redis_cpu = stage.meter.cpu(), stage.redis.cpu()

    def each(self, operations: int) -> Figures:
        """For one of so many operations."""
        figures = {
            "us_each": (self._stage.meter.cpu() - self._cpu) / operations * 1e6,
            "redis_us": (self._redis.cpu() - self._redis_cpu) / operations * 1e6,
        }
        stats = CommandStats.of(self._stage.server.redis.port) - self._stats
        return {**figures, "script_us": stats.in_scripts / operations, "commands": stats.each(operations)}


def publish(stage: Stage) -> Figures:
    """50 clients publish, with history, each into a room of its own."""
    stage.ensure(PUBLISHERS)
    return _run(stage, window=WINDOW, publications=PUBLICATIONS)


def fan_out(stage: Stage) -> Figures:
    """500 in one room; from outside, 128 publications under way."""
    stage.ensure(500)
    return _per_delivery(_run(stage, window=stage.server.window, publications=FANNED_OUT))


def light(stage: Stage) -> Figures:
    """500 in one room; 50 publications a second from outside: nothing is joined."""
    stage.ensure(500)
    return _per_delivery(_run(stage, rate=50, publications=100))


def by_api(stage: Stage) -> Figures:
    """8 connections publish by the HTTP API, one publication in a request."""
    assert isinstance(stage.server, CentrifugeServer)
    if stage.connected != api.LINKS:
        stage.ensure(api.LINKS)
        stage.load.publish_through(stage.server.through_api(api.LINKS))
    return _run(stage, window=4 * api.LINKS, publications=BY_REQUESTS)


def _run(stage: Stage, *, publications: int, rate: float = 0, window: int = 0) -> Figures:
    """A run's costs, of each publication. Raises Disturbed when not everything arrived once."""
    costs = Costs(stage)
    figures = stage.load.run(AT_MOST, rate=rate, window=window, publications=publications, drain=PATIENCE)
    if any(figures[name] for name in ("lost", "gaps", "late", "errors", "dropped")):
        raise Disturbed(f"not everything arrived, once and in order: {figures}")
    found = costs.each(figures["published"])
    counts = {"published": figures["published"], "deliveries": figures["received"]}
    return {**found, **counts, "per_second": figures["received"] / figures["seconds"]}


def _per_delivery(figures: Figures) -> Figures:
    return {**figures, "us_each": figures["us_each"] * figures["published"] / figures["deliveries"]}


def connect(stage: Stage) -> Figures:
    """400 clients connect and subscribe, 40 at once, in rooms of 50; then all of them go."""
    costs = Costs(stage)
    came = stage.load.connect(STORM, AT_ONCE)
    found, to_go = costs.each(STORM), Costs(stage)
    stage.load.tell("disconnect")
    stage.meter.wait_quiet()
    return {**found, "leave_us": to_go.each(STORM)["us_each"], "per_second": STORM / came["seconds"]}


def churn(stage: Stage) -> Figures:
    """200 clients subscribe and unsubscribe, over a thousand channels."""
    stage.ensure(subscriptions.VISITORS)
    costs = Costs(stage)
    done = subscriptions.visits(stage, AT_MOST, VISITS)
    return {**costs.each(VISITS), "per_second": VISITS / done["seconds"]}


def those_who_return(_: Plan) -> Shape:
    """300 clients in rooms of 50, and in each room one who stays and publishes."""
    return Shape(
        rooms=ROOMS, members=subscriptions.ROOM + 1, by_clients=True, first_only=True, keeps=True, message=payload()
    )


def recovery(stage: Stage) -> Figures:
    """300 clients come back, each to 50 missed publications."""
    stage.ensure(stage.server.shape.rooms * stage.server.shape.members)
    subscriptions.go_and_miss(stage)
    costs = Costs(stage)
    back = subscriptions.come_back(stage)
    return {**costs.each(back["begun"]), "per_second": back["begun"] / back["seconds"]}


_REDIS = {"redis_us": "Redis, CPU µs", "script_us": "Redis, µs in scripts by its clock"}
_BOTH = ("us_each", "redis_us")


def _probe(name: str, shape: Callable[[Plan], Shape], run: Callable[[Stage], Figures], what: str, rate: str) -> Probe:
    return Probe(name, shape, run, {"us_each": f"CPU µs {what}", **_REDIS, "per_second": f"{rate}/s"}, _BOTH)


PROBES = {
    probe.name: probe
    for probe in (
        _probe("publish", publishers, publish, "of a publication", "publications"),
        Probe(
            "connect",
            rooms_of_fifty,
            connect,
            {
                "us_each": "CPU µs of a connect with one subscription",
                "leave_us": "CPU µs of its end",
                **_REDIS,
                "per_second": "connects/s",
            },
            ("us_each", "leave_us", "redis_us"),
        ),
        Probe(
            "fanout",
            one_room,
            fan_out,
            {"us_each": "CPU µs of a delivery, under backlog", "per_second": "deliveries/s"},
            ("us_each",),
        ),
        Probe(
            "light",
            one_room,
            light,
            {"us_each": "CPU µs of a delivery, nothing joined", "per_second": "deliveries/s"},
            ("us_each",),
        ),
        _probe("churn", rooms_of_fifty, churn, "to subscribe and unsubscribe", "times"),
        _probe("recovery", those_who_return, recovery, "of a client that recovers 50", "clients"),
        _probe("api", api.rooms_of_one, by_api, "of a publication by HTTP API", "publications"),
    )
}
