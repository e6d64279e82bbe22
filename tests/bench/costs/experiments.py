"""One experiment for each cost: what is used by something that is done many times, and by nothing else.

Each gives its figures by name, every one for one time that it was done. `derive.py` makes costs of differences between
them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flotilla.ops.plan.turns import LIGHT
from flotilla.realtime.conf import RealtimeConfig
from tests.bench.costs.scales import Scales, Used
from tests.bench.costs.server import (
    CHECKED_EVERY,
    Listeners,
    Measured,
    OfSubscribers,
    OfUsers,
    QuickChecks,
    give_tokens,
)
from tests.bench.jobs.base import Job, Plan, Stage, staged
from tests.bench.load import AT_ONCE, Figures, payload
from tests.bench.servers.base import Shape

Found = dict[str, Used]
SMALL, LARGE = 120, 1_000  # bytes of a publication's data
OTHERS = 20  # listeners beside the instance
ROOM = 500
WINDOW = 128
WARM = 500  # clients that are there before those that are counted
ONE = RealtimeConfig().max_frames_per_second / 2  # publications a second of one client: half of what it may send
RARE = LIGHT / 10
"""Publications a second. At LIGHT, too, each finds the loop idle, and an idle instance's own work is a small part."""


@contextmanager
def on_stage(kind: type[Measured], shape: Shape, plan: Plan) -> Iterator[tuple[Stage, Scales]]:
    """A fresh instance and Redis of a kind."""
    job = Job("costs", "", (kind.name,), lambda _: shape, lambda _: Figures(), "", {})
    with staged(kind, job, plan) as stage:
        if kind.tokens:
            give_tokens(stage, 20_000)
        yield stage, Scales(stage)


def alone(plan: Plan) -> Found:
    """An instance without clients, and a Redis without instances: for each second; what they hold."""
    with on_stage(Measured, Shape(message=payload(SMALL)), plan) as (stage, scales):
        _warm(stage)
        used = scales.over(plan.seconds(20))
        found = {"alone": used.each(used.seconds)}
        found["alone"].instance_bytes, found["alone"].redis_bytes = map(float, scales.held())
        for process in stage.server.server_processes:
            process.kill()
        before, began = scales.redis_cpu(), time.monotonic()
        time.sleep(plan.seconds(10))
        left = Used(time.monotonic() - began, redis_cpu=scales.redis_cpu() - before)
        return {**found, "Redis alone": left.each(left.seconds)}


def clients(
    name: str, kind: type[Measured], namespace: str, rooms: int = 1, idle: float = 0
) -> Callable[[Plan], Found]:
    """Clients that come and go, for each; `idle` seconds between, for each of them and second."""

    def experiment(plan: Plan) -> Found:
        count = plan.size(2_000, 100)
        shape = Shape(rooms=rooms or count + 1_000, members=1_000_000 if rooms else 1, namespace=namespace)
        with on_stage(kind, shape, plan) as (stage, scales):
            _warm(stage, again=WARM)
            scales.begin()
            stage.load.connect(count, AT_ONCE)
            _settle(stage)
            found = {f"{name}: come": scales.end().each(count)}
            if idle:
                used = scales.over(plan.seconds(idle))
                found[f"{name}: stay"] = used.each((count + WARM) * used.seconds)
            scales.begin()
            stage.load.tell("disconnect")
            _settle(stage)
            found[f"{name}: go"] = scales.end().each(count + WARM)
            return found

    return experiment


def checks(plan: Plan) -> Found:
    """Quiet channels that keep history, each compared every few seconds: for each comparison; and their streams."""
    count = plan.size(1_000, 50)
    shape = Shape(rooms=count, members=1, by_clients=True, namespace="kept", message=payload(SMALL))
    with on_stage(QuickChecks, shape, plan) as (stage, scales):
        stage.load.connect(count, AT_ONCE)
        stage.meter.wait_quiet()
        scales.begin()
        stage.load.run(60, window=50, publications=count)
        streams = scales.end().each(count)
        stage.meter.wait_quiet()
        used = scales.over(plan.seconds(20))
        return {"check": used.each(count * used.seconds / CHECKED_EVERY), "stream": streams}


def history(plan: Plan) -> Found:
    """Publications that stay: memory of Redis for each, small and large."""
    found = {}
    for name, size in (("small", SMALL), ("large", LARGE)):
        shape = Shape(rooms=1, by_clients=True, first_only=True, namespace="long", message=payload(size))
        with on_stage(Measured, shape, plan) as (stage, scales):
            stage.load.connect(1)
            _publish(stage, rate=ONE, publications=200)
            scales.begin()
            count = _publish(stage, rate=ONE, publications=plan.size(4_000, 200))["published"]
            found[f"kept: {name}"] = scales.end().each(count)
    return found


def heard(plan: Plan) -> Found:
    """Publications from outside into one room, for each: to 1 and to 500, small and large, alone and in a flood."""
    found: Found = {}
    for size, about in ((SMALL, ""), (LARGE, ", large")):
        shape = Shape(rooms=1, namespace="kept", message=payload(size))
        with on_stage(Measured, shape, plan) as (stage, scales):
            before = scales.topics()
            stage.ensure(1)
            (topic,) = scales.topics() - before
            _publish(stage, window=WINDOW, publications=plan.size(2_000, 100))
            _weigh(found, f"to 1, light{about}", stage, scales, rate=LIGHT, seconds=plan.seconds(8))
            _weigh(found, f"to 1, flood{about}", stage, scales, window=WINDOW, publications=plan.size(20_000, 200))
            if not about:
                with Listeners(stage.server.redis.port, topic, OTHERS):
                    _weigh(found, "to 1 and 20, light", stage, scales, rate=LIGHT, seconds=plan.seconds(8))
                    many = plan.size(10_000, 200)
                    _weigh(found, "to 1 and 20, flood", stage, scales, window=WINDOW, publications=many)
            stage.ensure(plan.size(ROOM, 50))
            _publish(stage, window=4, publications=20)
            _weigh(found, f"to 500, light{about}", stage, scales, rate=LIGHT / 8, seconds=plan.seconds(8))
            if not about:
                _weigh(found, "to 500, flood", stage, scales, window=WINDOW, publications=plan.size(10_000, 200))
    return found


def taken(plan: Plan) -> Found:
    """Publications of 50 clients, each into a room of its own, with history and without: alone, busy, in a flood."""
    found: Found = {}
    for namespace, about in (("kept", ""), ("plain", ", nothing kept")):
        shape = Shape(rooms=50, members=1, by_clients=True, namespace=namespace, message=payload(SMALL))
        with on_stage(Measured, shape, plan) as (stage, scales):
            stage.ensure(50)
            _publish(stage, window=50, publications=plan.size(2_000, 100))
            _weigh(found, f"taken, light{about}", stage, scales, rate=LIGHT, seconds=plan.seconds(8))
            if not about:
                _weigh(found, "taken, busy", stage, scales, rate=1_500, seconds=plan.seconds(6))
            _weigh(found, f"taken, flood{about}", stage, scales, window=200, publications=plan.size(20_000, 200))
    return found


def rare(plan: Plan) -> Found:
    """The same so rarely that each finds an instance and a Redis that have done nothing for long."""
    found: Found = {}
    shape = Shape(rooms=50, members=1, by_clients=True, namespace="kept", message=payload(SMALL))
    with on_stage(Measured, shape, plan) as (stage, scales):
        stage.ensure(50)
        _publish(stage, window=50, publications=plan.size(2_000, 100))
        _weigh(found, "taken, rare", stage, scales, rate=RARE, seconds=plan.seconds(15))
    return found


EXPERIMENTS: dict[str, Callable[[Plan], Found]] = {
    "alone": alone,
    "visitors": clients("visitor", Measured, "plain", idle=60),
    "users": clients("user", OfUsers, "plain"),
    "subscriptions": clients("9 subscriptions", OfSubscribers, "plain"),
    "presence": clients("present", Measured, "present"),
    "channels": clients("own channel", Measured, "plain", rooms=0),
    "checks": checks,
    "history": history,
    "heard": heard,
    "taken": taken,
    "rare": rare,
}
SHOWN_BY = {
    "alone": "Redis alone",
    "visitors": "visitor: go",
    "users": "user: go",
    "subscriptions": "9 subscriptions: go",
    "presence": "present: go",
    "channels": "own channel: go",
    "checks": "stream",
    "history": "kept: large",
    "heard": "to 500, light, large",
    "taken": "taken, flood, nothing kept",
    "rare": "taken, rare",
}
"""A figure of each experiment, by which it is seen whether it was done."""


def _warm(stage: Stage, again: int = 0) -> None:
    """What is imported, compiled and allocated at the first time does not count."""
    stage.load.connect(200, AT_ONCE)
    stage.load.tell("disconnect")
    stage.meter.wait_quiet()
    if again:
        stage.load.connect(again, AT_ONCE)
        stage.meter.wait_quiet()


def _settle(stage: Stage) -> None:
    """Until nothing is left to do. A process that waits for a core on a busy machine looks quiet, too: so it is asked
    twice. What an instance uses meanwhile anyway is taken away later."""
    for _ in range(2):
        stage.meter.wait_quiet()
        time.sleep(stage.plan.seconds(1.5))


def _publish(stage: Stage, **how: float) -> Figures:
    figures = stage.load.run(float(how.pop("seconds", 120.0)), **how)  # type: ignore[arg-type]
    if any(figures[fault] for fault in ("lost", "gaps", "late", "errors", "dropped")):
        raise AssertionError(f"not everything arrived, once and in order: {figures}")
    return figures


def _weigh(found: Found, name: str, stage: Stage, scales: Scales, **how: float) -> None:
    scales.begin()
    figures = _publish(stage, **how)
    used = scales.end()
    found[name] = used.each(figures["published"])
    found[f"{name}: client"] = Used(seconds=figures["bytes"] / max(figures["received"], 1))
    stage.meter.wait_quiet()
