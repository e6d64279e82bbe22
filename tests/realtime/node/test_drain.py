"""A node drains: at what the others in the cluster admit, those who wait to be let in as well, and others are told."""

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from flotilla.presence.leases import Leases, Renewals, alive_sync, new_incarnation
from flotilla.realtime.client.client import Client
from flotilla.realtime.node.node import Node
from flotilla.store import Store, get_store
from tests.realtime.client.peers import Peer, RecordingSocket
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


def admits(node: Node, rate: int) -> None:
    """Change what the node says that it can let in."""
    node.config = msgspec.structs.replace(node.config, admission_rate=rate)


async def neighbour(store: Store, **about: Any) -> None:
    """Another instance, as far as its lease shows."""
    await Leases(store, ttl=60, key_ttl=60).renew(Renewals(new_incarnation("other")), about)


async def test_the_pace_is_what_the_others_admit(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """Not what we admit ourselves, and not those who drain as well."""
    caplog.set_level(logging.INFO, "flotilla.realtime.drain")
    await neighbour(node.store, admission_rate=30, draining=False)
    await neighbour(node.store, admission_rate=900, draining=True)
    peers = [Peer(node) for _ in range(6)]
    await node.drain(5.0)
    assert "1 other instances let in 30 clients a second" in caplog.text
    assert "told 6 clients to reconnect" in caplog.text
    assert [await peer.end() for peer in peers] == [(3001, "shutdown")] * 6


async def test_the_others_learn_at_once_that_it_drains(node: Node) -> None:
    """Not only at the next renewal of the lease: they may be about to drain as well."""
    admits(node, 1)
    peers = [Peer(node) for _ in range(3)]
    draining = asyncio.ensure_future(node.drain(1.5))  # over before the next renewal
    await until(lambda: [about["draining"] for about in alive_sync(get_store())] == [True])
    assert not draining.done()
    await draining
    assert [await peer.end() for peer in peers] == [(3001, "shutdown")] * 3


async def test_those_who_wait_to_be_let_in_are_told_in_their_turn(node: Node) -> None:
    """Behind those who are in, though each of these gives its place back, and nobody stays outside."""
    admits(node, 20)
    tickets = [await node.admission.enter() for _ in range(node.config.max_connecting)]
    inside = [Peer(node) for _ in range(3)]
    for peer, ticket in zip(inside, tickets, strict=False):
        peer.client._ticket = ticket
    told: list[RecordingSocket] = []

    async def come() -> None:
        ticket = await node.admission.enter()
        socket = RecordingSocket()
        client = Client(node, socket, {}, ticket)
        assert node.draining and all(peer.socket.closed for peer in inside)
        client.disconnect(3001)
        told.append(socket)

    waiting = [asyncio.ensure_future(come()) for _ in range(4)]
    await until(lambda: node.admission.waiting == 4)
    await node.drain(3.0)
    await asyncio.gather(*waiting)
    assert len(told) == 4


async def test_a_drain_without_redis_still_tells_everybody(
    node: Node, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """At the node's own pace, and within the deadline."""
    peers = [Peer(node) for _ in range(4)]
    redis_process.ask("CLIENT", "PAUSE", 1500)
    await node.drain(3.0)
    assert [await peer.end() for peer in peers] == [(3001, "shutdown")] * 4
    assert "the instances that stay are not known" in caplog.text
