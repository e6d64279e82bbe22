"""Presence: 5,000 in one room where joins are announced; what it costs to come, to ask who is there, and to go."""

import json
import time
import urllib.request
from statistics import median
from typing import Any

import redis

from tests.bench.jobs.base import Job, Plan, Stage
from tests.bench.load import Figures, payload
from tests.bench.servers.base import Shape
from tests.bench.servers.flotilla import API_KEY, Flotilla


def hall(_: Plan) -> Shape:
    """One room that announces who comes and goes."""
    return Shape(namespace="hall", message=payload())


def presence(stage: Stage) -> Figures:
    """Fill the room, ask for the count and for everybody, empty it. Raises when the count is ever wrong."""
    server, count = stage.server, stage.plan.size(5_000, 100)
    assert isinstance(server, Flotilla)
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


def _call(server: Flotilla, method: str) -> Any:
    headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.http}/api/{method}", b'{"channel": "hall:0"}', headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["result"]


def _timed(server: Flotilla, method: str) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = _call(server, method)
    return time.perf_counter() - began, answer


def _await_count(server: Flotilla, count: int, within: float) -> float:
    """Seconds until the room holds exactly `count`."""
    began = time.monotonic()
    while (found := _call(server, "presence_stats")["num_clients"]) != count:
        if time.monotonic() - began > within:
            raise AssertionError(f"{found} present instead of {count}")
        time.sleep(0.05)
    return time.monotonic() - began


def _redis_memory(server: Flotilla) -> int:
    with redis.Redis(port=server.redis.port) as client:
        return int(client.info("memory")["used_memory"])


JOBS = (
    Job(
        name="presence",
        title="Presence: 5,000 in one room that announces joins",
        servers=("flotilla",),
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
)
