"""`on_connect` and `on_disconnect`: once for each connection over all instances, in order, and in nobody's way."""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from flotilla.presence import receiver_queue
from flotilla.realtime.conf import get_config
from flotilla.realtime.node.node import Node
from flotilla.realtime.signals import on_connect, on_disconnect
from flotilla.store import get_store
from flotilla.store.shards import Store
from tests.realtime.client.nodes import REALTIME
from tests.realtime.client.peers import Peer
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

SHORT = {"lease_ttl": "1.5s", "lease_renew": "0.4s", "reaper_interval": "0.1s"}


class Heard:
    """What the receivers got: plain functions, as most projects have them. They hang while `go_on` is not set."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []  # what, client
        self.facts: list[dict[str, Any]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.takes = 0.0

    def connected(self, client: str, **facts: Any) -> None:
        self.go_on.wait(30)
        self.told.append(("connect", client))

    def disconnected(self, **facts: Any) -> None:
        self.go_on.wait(30)
        time.sleep(self.takes)
        self.told.append(("disconnect", facts["client"]))
        self.facts.append({key: facts[key] for key in ("client", "user", "instance", "code", "reason")})

    def count(self, what: str) -> Counter[str]:
        return Counter(client for kind, client in self.told if kind == what)


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    on_connect.connect(heard.connected)
    on_disconnect.connect(heard.disconnected)
    yield heard
    heard.go_on.set()
    on_connect.disconnect(heard.connected)
    on_disconnect.disconnect(heard.disconnected)


@pytest_asyncio.fixture
async def pair(configured: Any, redis_url: str) -> AsyncIterator[tuple[Node, Node]]:
    """Two instances with short leases, each with a store of its own."""
    configured.REALTIME = REALTIME | SHORT
    nodes = [Node(get_config(), store, name) for store, name in ((get_store(), "one"), (Store([redis_url]), "two"))]
    for node in nodes:
        await node.start()
    await until(lambda: all(node.presence.alive for node in nodes))
    yield nodes[0], nodes[1]
    for node in nodes:
        await node.presence.stop(within=0.1)
    second = nodes[1]
    await second.reauthorization.close()
    await second.blocks.close()
    await second.hub.close()
    await second.vitals.close()
    await second.heartbeat.close()
    second.timers.stop()
    await second.store.close()
    await nodes[0].close()


async def connected(node: Node, count: int) -> list[Peer]:
    peers = [Peer(node) for _ in range(count)]
    for peer in peers:
        await peer.connect()
        await peer.subscribe("people:room")
    return peers


async def pause(node: Node) -> None:
    """As SIGSTOP does: nothing of its presence runs; what has been accepted is still there."""
    for task in node.presence._tasks:
        task.cancel()
    await asyncio.gather(*node.presence._tasks, return_exceptions=True)


def names(peers: list[Peer]) -> dict[str, int]:
    return {peer.client.id: 1 for peer in peers}


async def test_a_connection_is_told_once_each_way(node: Node, heard: Heard) -> None:
    """With who it was, where, and why it ended."""
    peer = Peer(node)
    await peer.connect()
    peer.client.disconnect(4002, "enough")
    await until(lambda: len(heard.told) == 2)
    client = peer.client.id
    assert heard.told == [("connect", client), ("disconnect", client)]
    told = {"client": client, "user": "", "instance": node.instance, "code": 4002, "reason": "enough"}
    assert heard.facts == [told]


async def test_who_was_never_connected_is_never_told(node: Node, heard: Heard) -> None:
    """A handshake alone is no connection."""
    Peer(node).client.closed(1006)
    await until(lambda: not node.presence.busy)
    assert heard.told == []


async def test_who_leaves_while_its_instance_is_paused_beyond_its_lease_is_told_once(
    pair: tuple[Node, Node], heard: Heard
) -> None:
    """Another instance has told of it; when the paused one goes on and sees the closed sockets, it does not."""
    paused, other = pair
    peers = await connected(paused, 10)
    await pause(paused)
    await until(lambda: other.stats.reaped["user"] == 10, what="reaped")
    for peer in peers:
        peer.client.closed(1006)
    paused.presence._begin()
    await until(lambda: paused.presence.alive and not paused.presence.busy and not other.presence.busy)
    await until(lambda: len(heard.facts) >= 10)
    assert heard.count("disconnect") == names(peers)
    assert {(facts["instance"], facts["reason"]) for facts in heard.facts} == {("one", "instance lost")}


async def test_who_is_sent_away_by_a_fenced_instance_is_told_once(pair: tuple[Node, Node], heard: Heard) -> None:
    """Those that stayed through the pause get 3011; they were told of already."""
    paused, other = pair
    peers = await connected(paused, 10)
    await pause(paused)
    await until(lambda: other.stats.reaped["user"] == 10, what="reaped")
    paused.presence._begin()
    assert [(await peer.end())[0] for peer in peers] == [3011] * 10
    await until(lambda: not paused.presence.busy and not other.presence.busy)
    assert heard.count("disconnect") == names(peers)


async def test_slow_receivers_do_not_hold_up_the_reaping(pair: tuple[Node, Node], heard: Heard) -> None:
    """Every room is empty before the first receiver is through; each is told in the end."""
    dying, other = pair
    peers = await connected(dying, 80)
    for number, peer in enumerate(peers):
        await peer.subscribe(f"people:{number}")
    await until(lambda: len(heard.count("connect")) == 80)
    heard.go_on.clear()
    await pause(dying)

    async def empty() -> bool:
        rooms = ("room", *range(80))
        return not any([(await other.presence.stats(f"c:people:{room}"))[0] for room in rooms])

    await until(empty, what="the last leave")
    assert heard.facts == []
    heard.go_on.set()
    await until(lambda: len(heard.facts) >= 80)
    await until(lambda: not other.presence.busy)
    assert heard.count("disconnect") == names(peers)


async def test_slow_receivers_do_not_hold_up_a_clients_commands(node: Node, heard: Heard) -> None:
    """Nor its neighbours'."""
    heard.go_on.clear()
    for peer in await connected(node, 20):
        peer.client.closed(1000)
    late = Peer(node)
    await late.connect()
    await late.subscribe("people:room")
    assert (await late.ask(publish={"channel": "people:room", "data": 1})) == {"publish": {}}
    assert heard.told == []
    heard.go_on.set()
    await until(lambda: not node.presence.busy)


async def test_connect_is_told_before_disconnect_of_the_same_connection(node: Node, heard: Heard) -> None:
    """Also when it is gone before anybody heard that it came."""
    heard.go_on.clear()
    peers = await connected(node, 30)
    for peer in peers:
        peer.client.closed(1000)
    heard.go_on.set()
    await until(lambda: not node.presence.busy)
    assert heard.count("connect") == heard.count("disconnect") == names(peers)
    for peer in peers:
        client = peer.client.id
        assert heard.told.index(("connect", client)) < heard.told.index(("disconnect", client))


async def test_short_connections_wait_in_redis_when_the_queue_is_full(
    node: Node, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both of their signals, in order; the memory holds no more than its bound."""
    monkeypatch.setattr(receiver_queue, "MAX_WAITING", 12)
    heard.go_on.clear()
    peers = await connected(node, 60)
    for peer in peers:
        peer.client.closed(1000)
        await node.idle()
    assert node.presence.receivers.waiting <= 12 + receiver_queue.WORKERS
    heard.go_on.set()
    await until(lambda: not node.presence.busy)
    assert heard.count("connect") == heard.count("disconnect") == names(peers)
    for peer in peers:
        client = peer.client.id
        assert heard.told.index(("connect", client)) < heard.told.index(("disconnect", client))


async def test_a_slow_receiver_is_named_with_its_time(
    node: Node, heard: Heard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not for every call: once in a while."""
    monkeypatch.setattr(receiver_queue, "SLOW", 0.01)
    heard.takes = 0.02
    with caplog.at_level(logging.WARNING, logger="flotilla.presence.receiver_queue"):
        for peer in await connected(node, 5):
            peer.client.closed(1000)
        await until(lambda: not node.presence.busy)
    found = [record.getMessage() for record in caplog.records if "Heard.disconnected took 0.0" in record.getMessage()]
    assert len(found) == 1 and "on_disconnect" in found[0]
    assert node.presence.receivers.slow["on_disconnect"] == 5


async def test_what_a_receiver_raises_is_logged_and_stops_nothing(
    node: Node, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the others nor the next connection's."""

    def breaks(**facts: Any) -> None:
        raise KeyError("oops")

    on_disconnect.connect(breaks)
    try:
        for peer in await connected(node, 3):
            peer.client.closed(1000)
        await until(lambda: not node.presence.busy)
    finally:
        on_disconnect.disconnect(breaks)
    assert len(heard.facts) == 3
    assert node.presence.receivers.failures["on_disconnect"] == 3
    assert any("breaks" in record.getMessage() for record in caplog.records)


class TestRedisAway:
    """Redis is killed and comes back empty."""

    @pytest.fixture
    def redis_url(self, mortal_redis: RedisProcess) -> str:
        return mortal_redis.url

    async def test_who_leaves_meanwhile_is_told_once_when_it_is_back(
        self, node: Node, heard: Heard, mortal_redis: RedisProcess
    ) -> None:
        """Until then nobody can know whether another instance has told."""
        peers = await connected(node, 5)
        mortal_redis.kill()
        for peer in peers:
            peer.client.closed(1006)
        await node.idle()
        assert heard.facts == []
        mortal_redis.start()
        await until(lambda: len(heard.facts) >= 5, within=20)
        await until(lambda: not node.presence.busy)
        assert heard.count("disconnect") == names(peers)
