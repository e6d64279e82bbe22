"""Limits as clients of a real cluster meet them: one budget over all instances, handshakes, Redis's faults."""

import asyncio
import contextlib
import json
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from email.message import Message
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

from tests.cluster.support.harness import Cluster, manage, running
from tests.cluster.support.processes import eventually, wait_until
from tests.cluster.support.raw_client import RawClient

pytestmark = pytest.mark.timeout(180)

ALLOWED = {"allow_publish_for_client": True, "allow_publish_for_anonymous": True, "allow_subscribe_for_client": True}
CONFIG: dict[str, Any] = {
    "anonymous": True,
    "abuse": {"denials": 20, "window": 30},
    "namespaces": {"room": ALLOWED, "free": ALLOWED},
    "rate_limits": {
        "route": {"guards": "http:coroutine", "key": "ip", "rate": "10/m"},
        "stream": {"guards": "http:/limited/stream", "key": "ip", "rate": "1/m"},
        "handshakes": {"guards": "ws.connect", "key": "header:X-Test", "rate": "4/m"},
        "publishes": {"guards": "ws.publish:room", "key": "user_or_ip", "rate": "6/m"},
        "open": {"guards": "http:/burst/open", "key": "ip", "rate": "100000/d", "failure": "open"},
        "closed": {"guards": "http:/burst/closed", "key": "ip", "rate": "100000/d", "failure": "closed"},
        "local": {"guards": "http:/burst/local", "key": "ip", "rate": "6/d", "failure": "local"},
        "personal": {"guards": "http:plain", "key": "header:X-API-Key", "rate": "2/d"},
    },
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two instances as `serve` runs them, one under stock Daphne, one under uvicorn."""
    with running(
        Cluster(tmp_path_factory.mktemp("limits"), CONFIG, "flotilla", "flotilla", "daphne", "uvicorn")
    ) as made:
        yield made


@pytest.fixture(autouse=True)
def well(limited: Cluster) -> None:
    """Every instance is over what the test before did to Redis."""
    wait_until(lambda: all(instance.ready() for instance in limited.instances), "every instance is ready")


def get(url: str, **headers: str) -> tuple[int, Message, bytes]:
    """Status, headers and body, whatever they are."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_a_route_s_budget_is_one_over_all_instances_and_servers(limited: Cluster) -> None:
    answers = [get(f"{limited[n % 4].http}/limited/coroutine") for n in range(14)]
    assert [status for status, _, _ in answers] == [200] * 10 + [429] * 4
    _, headers, body = answers[-1]
    assert headers["Content-Type"] == "application/problem+json"
    assert 0 < int(headers["Retry-After"]) <= 61
    assert headers["RateLimit-Policy"] == '"route";q=10;w=60'
    assert json.loads(body)["violated-policies"] == ["route"]


def test_a_stream_passes_and_is_denied_before_it_begins(limited: Cluster) -> None:
    answers = [get(f"{limited[n].http}/limited/stream") for n in (0, 1)]
    assert [(status, body) for status, _, body in answers[:1]] == [(200, b"part\n" * 3)]
    assert answers[1][0] == 429


@pytest.mark.parametrize("path", ["decorated", "decorated/coroutine"])
def test_decorated_views_share_one_budget_over_instances(limited: Cluster, path: str) -> None:
    assert [get(f"{limited[n % 2].http}/{path}")[0] for n in range(5)] == [200, 200, 200, 429, 429]


async def test_publishes_of_a_user_are_counted_over_connections_and_instances(limited: Cluster) -> None:
    async with RawClient(limited[0].url) as one, RawClient(limited[1].url) as two:
        for client in (one, two):
            await client.connect("ann")
        replies = [await client.call("publish", channel="room:a", data=1) for client in (one, two) * 5]
        codes = [reply.get("error", {}).get("code", 0) for reply in replies]
        assert codes == [0] * 6 + [111] * 4
        assert replies[-1]["error"]["temporary"] is True
        assert replies[-1]["error"]["message"].startswith("too many requests: retry in ")
        assert "error" not in await one.call("publish", channel="free:a", data=1)


async def test_persistent_abuse_ends_with_3013(limited: Cluster) -> None:
    async with RawClient(limited[0].url) as client:
        await client.connect("mallory")
        for _ in range(30):
            await client.send(client.command("publish", channel="room:a", data=1))
        assert await client.closed() == (3013, "too many requests")


@pytest.mark.parametrize("server", [0, 3], ids=["flotilla", "uvicorn"])
async def test_too_many_handshakes_are_answered_429_before_the_accept(limited: Cluster, server: int) -> None:
    headers = {"X-Test": f"many-{server}"}
    for _ in range(4):
        async with connect(limited[server].url, additional_headers=headers, proxy=None):
            pass
    for _ in range(3):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(limited[server].url, additional_headers=headers, proxy=None)
        assert refused.value.response.status_code == 429
        assert 0 < int(refused.value.response.headers["Retry-After"]) <= 61
    async with connect(limited[server].url, additional_headers={"X-Test": f"other-{server}"}, proxy=None):
        pass


async def test_where_a_handshake_cannot_be_answered_it_is_3013(limited: Cluster) -> None:
    """Stock Daphne knows no other status than 403, after which clients would not know whether to come back."""
    headers = {"X-Test": "stock"}
    for _ in range(4):
        async with connect(limited[2].url, additional_headers=headers, proxy=None):
            pass
    async with RawClient(limited[2].url, additional_headers=headers) as client:
        assert await client.closed() == (3013, "too many requests")


async def test_a_personal_limit_is_effective_on_all_instances_within_two_seconds(limited: Cluster) -> None:
    key = {"X-API-Key": "partner"}
    for n in range(4):
        await asyncio.to_thread(get, f"{limited[n % 2].http}/limited/plain", **key)
    assert {(await asyncio.to_thread(get, f"{limited[n].http}/limited/plain", **key))[0] for n in (0, 1)} == {429}
    words = (
        "from flotilla.ratelimit.models import PersonalLimit; from flotilla.ratelimit.subjects import digest_of;"
        "PersonalLimit.objects.create(policy='personal', key_digest=digest_of('partner'), exempt=True)"
    )
    await asyncio.to_thread(manage, limited.env, "shell", "--verbosity", "0", "-c", words)
    made = time.monotonic()
    for n in range(4):
        url = f"{limited[n].http}/limited/plain"
        await eventually(lambda url=url: get(url, **key)[0] == 200, "the limit is effective", within=10)
    assert time.monotonic() - made < 10  # two seconds, and what a busy machine needs for asking


async def traffic(cluster: Cluster, path: str, requests: int = 16) -> tuple[Counter[int], float]:
    """GET after GET through both instances in turn: how often which status, and the slowest in seconds."""
    statuses: Counter[int] = Counter()
    slowest = 0.0
    for n in range(requests):
        began = time.monotonic()
        status, _, _ = await asyncio.to_thread(get, f"{cluster[n % 2].http}/burst/{path}")
        slowest = max(slowest, time.monotonic() - began)
        statuses[status] += 1
    return statuses, slowest


@pytest.mark.parametrize("fault", ["paused", "stopped"])
async def test_redis_away_during_traffic_is_no_5xx_and_no_wait_and_heals(limited: Cluster, fault: str) -> None:
    redis = limited.redis
    for path in ("open", "closed", "local"):
        await asyncio.to_thread(get, f"{limited[0].http}/burst/{path}")
    redis.send(signal.SIGSTOP) if fault == "paused" else redis.kill()
    try:
        during = {path: await traffic(limited, path) for path in ("open", "closed", "local")}
    finally:
        redis.send(signal.SIGCONT) if fault == "paused" else await asyncio.to_thread(redis.start)
    assert set(during["open"][0]) == {200}
    assert set(during["closed"][0]) <= {200, 429}
    assert during["closed"][0][429] > 0
    assert set(during["local"][0]) <= {200, 429}
    assert during["local"][0][429] > 0, "each instance goes on beyond its share"
    assert max(slowest for _, slowest in during.values()) < 10, "a request hung"
    for n in (0, 1):
        url = f"{limited[n].http}/burst/closed"
        await eventually(lambda url=url: get(url)[0] == 200, "limits are decided by Redis again", within=20)


async def test_commands_go_on_while_redis_is_away(limited: Cluster) -> None:
    """A limit must not be what holds a connection up: publishing itself says 100, try again."""
    async with RawClient(limited[0].url) as client:
        await client.connect("carl")
        limited.redis.send(signal.SIGSTOP)
        try:
            reply = await client.call("publish", channel="room:b", data=1)
        finally:
            limited.redis.send(signal.SIGCONT)
        assert reply["error"]["code"] == 100
        with contextlib.suppress(AssertionError):
            await client.round_trip()
        await eventually(lambda: limited[0].ready(), "ready again", within=20)
        assert client.socket.close_code is None
