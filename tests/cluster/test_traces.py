"""Traces over a real cluster: from a caller's request over Redis to the writes of another instance, in a collector."""

import asyncio
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.support.api_client import Api
from tests.cluster.support.collector import Collector
from tests.cluster.support.harness import API_KEY, CONFIG, Cluster, running
from tests.cluster.support.processes import PATIENCE, eventually
from tests.cluster.support.raw_client import RawClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

TRACED = CONFIG | {
    "tracing": True,
    "tracing_ratio": 0,
    "tracing_provider": "tests.cluster.support.clusterapp.telemetry.provider",
}
MANY = 800  # publications: more than queues of spans hold
QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "100"}  # ms


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector().listening() as listening:
        yield listening


def traceparent(sampled: bool = True) -> tuple[str, str, str]:
    """A header, with the trace and the parent in it."""
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    return f"00-{trace}-{parent}-{int(sampled):02x}", trace, parent


async def post(http: str, channel: str, data: Any, traceparent: str, key: str = API_KEY) -> int:
    """Publish by the HTTP API with a header; gives the status."""
    body = json.dumps({"channel": channel, "data": data}).encode()
    headers = {"X-API-Key": key, "traceparent": traceparent, "Content-Type": "application/json"}

    def call() -> int:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"{http}/api/publish", body, headers), timeout=PATIENCE
            ) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    return await asyncio.to_thread(call)


def data(client: RawClient) -> list[Any]:
    return [publication["data"] for publication in client.publications("open:room")]


def cluster(home: Path, collector: Collector, **config: Any) -> Cluster:
    sent_to = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    return Cluster(home, TRACED | config, "flotilla", "flotilla", fsync="everysec", **sent_to, **QUICKLY)


async def test_one_trace_spans_the_callers_request_and_both_instances(tmp_path: Path, collector: Collector) -> None:
    """Its parent is the caller's. What its caller does not sample, or sends a broken header with, has no trace; nor has
    a call without a key."""
    header, trace, parent = traceparent()
    with running(cluster(tmp_path, collector)) as two:
        async with RawClient(two[1].url) as client:
            await client.connect("ann")
            await client.subscribe("open:room")
            assert await post(two[0].http, "open:room", 1, traceparent(sampled=False)[0]) == 200
            assert await post(two[0].http, "open:room", 2, f"{header}-and-more") == 200
            assert await post(two[0].http, "open:room", 0, traceparent()[0], key="a guess") == 401
            assert await post(two[0].http, "open:room", 3, header) == 200
            await eventually(lambda: data(client) == [1, 2, 3], "all three came")
        await eventually(lambda: collector.of(trace).keys() >= {"api publish", "deliver"}, "both told the collector")
    found = collector.of(trace)
    assert {span.trace for span in collector.spans} == {trace}
    (call,), (script,), (delivery,) = found["api publish"], found["redis publish"], found["deliver"]
    assert (call.parent, script.parent, delivery.parent) == (parent, call.id, script.id)
    assert (call.about["instance"], delivery.about["instance"]) == ("flotilla-0", "flotilla-1")
    assert (delivery.about["namespace"], delivery.about["offset"], delivery.about["receivers"]) == ("open", 3, 1)
    assert {span.parent for span in (*found["pub/sub"], *found["fan-out"])} == {delivery.id}
    assert call.began <= script.began <= script.ended <= call.ended


async def test_everything_is_traced_where_everything_is_sampled(tmp_path: Path, collector: Collector) -> None:
    """Commands of clients, with what they wait for; and a process that ends tells what it has not told yet."""
    late = {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}  # so that only the end makes it export
    made = Cluster(
        tmp_path, TRACED | {"tracing_ratio": 1}, "flotilla", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **late
    )
    with running(made) as one:
        async with RawClient(one[0].url) as client:
            await client.connect("ann")
            await client.subscribe("open:room")
            await client.call("publish", channel="open:room", data=1)
            await eventually(lambda: data(client) == [1], "it came")
            assert await client.error("subscribe", channel="nonsense:room") == 102
    by_name = {span.name: span for span in collector.spans}
    publish, script, delivery = (by_name[name] for name in ("command publish", "redis publish", "deliver"))
    assert (script.parent, delivery.parent) == (publish.id, script.id)
    assert publish.began <= script.began <= script.ended <= publish.ended
    assert {"command connect", "command subscribe"} <= by_name.keys()
    refused = [span for span in collector.spans if span.about.get("code")]
    assert [(span.name, span.about["code"], span.about["namespace"]) for span in refused] == [
        ("command subscribe", 102, "(unknown)")
    ]


async def test_a_dead_collector_touches_nothing(tmp_path: Path, collector: Collector) -> None:
    """It takes connections and never answers: publications are delivered, and the process ends in time."""
    collector.silent = True
    with running(cluster(tmp_path, collector, tracing_ratio=1)) as two:
        async with RawClient(two[1].url) as client:
            await client.connect("ann")
            await client.subscribe("open:room")
            await eventually(lambda: collector.requests > 0, "a batch hangs at the collector")
            async with Api(two[0].http) as api:
                for start in range(0, MANY, 100):
                    await api.say_all("open:room", *range(start, start + 100))
            await eventually(lambda: len(data(client)) >= MANY, "all came", 3 * PATIENCE)
        assert data(client) == list(range(MANY))
        for instance in two.instances:
            instance.stop()
            assert instance.exit_code == 0, instance.tail()
    assert not collector.spans
