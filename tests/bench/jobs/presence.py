"""Presence: 5,000 in one room where joins are announced; what it costs to come, to ask who is there, and to go; and
what it costs to tell all of them of each who comes."""

import time
from statistics import median
from typing import Any

import redis

from tests.bench.jobs.base import Job, Plan, Stage
from tests.bench.load import Figures, payload
from tests.bench.servers.base import Shape
from tests.bench.servers.centrifuge import CentrifugeServer

MORE = 100


def hall(_: Plan) -> Shape:
    """One room that announces who comes and goes."""
    return Shape(namespace="hall", message=payload())


def hall_that_listens(_: Plan) -> Shape:
    """The same; everybody asks to be told."""
    return Shape(namespace="hall", announced=True, message=payload())


def joins(stage: Stage) -> Figures:
    """5,000 come into a room where everybody is told of each; then 100 more, ten at once, whom all 5,000 are told of.
    Raises AssertionError when the announcements of those 100 are not all there."""
    count, more = stage.plan.size(5_000, 100), stage.plan.size(MORE, 10)
    came = stage.load.connect(count)
    stage.meter.wait_quiet()
    first = stage.load.tell("settle", {"quiet": 1.0})
    before, redis_before = stage.meter.cpu(), stage.redis.cpu() if stage.redis else 0.0
    arrived = stage.load.connect(more, 10)
    said = stage.load.tell("settle", {"quiet": 1.0}, within=300)
    stage.meter.wait_quiet()
    cpu, redis_cpu = stage.meter.cpu() - before, stage.redis.cpu() - redis_before if stage.redis else 0.0
    announced = said["announced"] - first["announced"]
    if announced < count * more:
        raise AssertionError(f"{announced:,} announcements of {more} joins to {count:,}")
    return {
        "joins_per_second": count / came["seconds"],
        "p99_ms": arrived["joining"]["p99"] / 1000,
        "us_join": cpu / more * 1e6,
        "us_each": cpu / announced * 1e6,
        "redis_us_each": redis_cpu / more * 1e6,
        "client_load": came["client_cpu"] / came["seconds"],
    }


def presence(stage: Stage) -> Figures:
    """Fill the room, ask for the count and for everybody, empty it. Raises when the count is ever wrong."""
    server, count = stage.server, stage.plan.size(5_000, 100)
    assert isinstance(server, CentrifugeServer)
    stage.load.connect(50)
    before = _redis_memory(server)
    came = stage.load.connect(count - 50)
    there = _await_count(server, count, within=10)
    held = _redis_memory(server) - before
    counting = median(_timed(server, "presence_stats")[0] for _ in range(9))
    listing, answer = max((_timed(server, "presence") for _ in range(3)), key=lambda one: one[0])
    if len(answer["presence"]) != count:
        raise AssertionError(f"{len(answer['presence'])} of {count} are listed")
    stage.load.tell("disconnect")
    gone = _await_count(server, 0, within=60)
    return {
        "joins_per_second": (count - 50) / came["seconds"],
        "complete_ms": there * 1000,
        "count_ms": counting * 1000,
        "list_ms": listing * 1000,
        "empty_ms": gone * 1000,
        "redis_bytes_each": held / (count - 50),
    }


def _call(server: CentrifugeServer, method: str) -> Any:
    return server.ask(method, {"channel": "hall:0"})


def _timed(server: CentrifugeServer, method: str) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = _call(server, method)
    return time.perf_counter() - began, answer


def _await_count(server: CentrifugeServer, count: int, within: float) -> float:
    """Seconds until the room holds exactly `count`."""
    began = time.monotonic()
    while (found := _call(server, "presence_stats")["num_clients"]) != count:
        if time.monotonic() - began > within:
            raise AssertionError(f"{found} present instead of {count}")
        time.sleep(0.05)
    return time.monotonic() - began


def _redis_memory(server: CentrifugeServer) -> int:
    with redis.Redis(port=server.redis.port) as client:
        return int(client.info("memory")["used_memory"])


JOBS = (
    Job(
        name="presence",
        title="Presence: 5,000 in one room that announces joins",
        servers=("flotilla", "flotilla-pure", "centrifuge"),
        shape=hall,
        measure=presence,
        headline="joins_per_second",
        columns={
            "joins_per_second": "joins/s",
            "complete_ms": "all present after, ms",
            "count_ms": "count, ms",
            "list_ms": "whole list, ms",
            "empty_ms": "all gone after, ms",
            "redis_bytes_each": "Redis, bytes each",
        },
    ),
    Job(
        name="joins",
        title="5,000 in one room who are told of each who joins",
        servers=("flotilla", "flotilla-pure", "centrifuge"),
        shape=hall_that_listens,
        measure=joins,
        headline="us_each",
        columns={
            "joins_per_second": "joins/s, from nobody to 5,000",
            "p99_ms": "p99 of a join among them, ms",
            "us_join": "CPU µs of it, all told",
            "us_each": "CPU µs of an announcement",
            "redis_us_each": "Redis, µs of a join",
            "client_load": "load client, cores",
        },
        more_is_better=False,
        panel="CPU of an announcement to one of 5,000, µs",
    ),
)
