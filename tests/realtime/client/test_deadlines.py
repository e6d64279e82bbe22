"""A client's deadlines: the connect command, pings and pongs, what expires."""

import time

import pytest

from flotilla.realtime.node.node import Node
from tests.realtime.client.nodes import hurry
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


async def test_a_silent_newcomer_is_stale(node: Node) -> None:
    """Who does not connect in time is closed with 3502, by the timers."""
    hurry(node, connect_timeout=0.1)
    peer = Peer(node)
    assert (await peer.end())[0] == 3502


async def test_pings_come_and_want_an_answer(node: Node) -> None:
    """A client that answers stays, one that does not gets 3012."""
    hurry(node, ping_interval=0.5, pong_timeout=0.3)
    good, bad = Peer(node), Peer(node)
    await good.connect()
    await bad.connect()

    def pings(peer: Peer) -> int:
        found = peer.socket.lines.count({})
        if peer is good and found:
            peer.client.receive("{}")
        return found

    assert (await until(lambda: pings(good) >= 3 and bad.socket.closed))[0] == 3012
    assert bad.socket.lines.count({}) == 1
    assert good.socket.closed is None


async def test_what_pings_are_is_said_in_the_reply(node: Node) -> None:
    """Seconds as integers; none where they are off."""
    hurry(node, ping_interval=25.0)
    assert await Peer(node).connect() | {"client": "", "version": ""} == {
        "client": "",
        "version": "",
        "ping": 25,
        "pong": True,
    }
    hurry(node, ping_interval=0.0)
    assert "ping" not in await Peer(node).connect()


async def test_an_expired_connection_has_its_grace(node: Node) -> None:
    """A token's connection may refresh for 25 s more; then 3005."""
    peer = Peer(node)
    await peer.connect()
    peer.client.expire_at = time.time() - 24
    peer.client.on_time(node.now())
    assert peer.socket.closed is None
    peer.client.expire_at = time.time() - 25.1
    peer.client.schedule()
    assert (await peer.end())[0] == 3005


async def test_an_expired_subscription_ends_alone(node: Node) -> None:
    """With push 2501; the connection stays."""
    peer = Peer(node)
    await peer.connect()
    await peer.subscribe("open:a")
    peer.client.subscriptions["open:a"].expire_at = time.time() - 26
    peer.client.schedule()
    await until(lambda: peer.pushes("unsubscribe", "open:a") == [{"code": 2501, "reason": "subscription expired"}])
    assert peer.client.subscriptions == {}
    assert peer.socket.closed is None


async def test_an_expired_server_side_subscription_ends_the_connection(node: Node) -> None:
    """With 3006."""
    peer = Peer(node)
    await peer.connect()
    await peer.subscribe("open:a")
    subscription = peer.client.subscriptions["open:a"]
    subscription.server_side, subscription.expire_at = True, time.time() - 26
    peer.client.schedule()
    assert (await peer.end())[0] == 3006
