"""Requests that speak for clients of another instance: passed on, but not without a bound."""

import pytest

from flotilla.realtime.node.emulation import MAX_COUNTED, Emulation, Outcome
from flotilla.realtime.node.node import Node
from flotilla.realtime.node.sessions import Sessions
from flotilla.realtime.protocol.emulation import Emulated
from flotilla.realtime.server.budget import UNBOUNDED, Allowance
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio
ALLOWANCE = Allowance(3, 10_000)


async def test_what_is_said_elsewhere_reaches_its_client(node: Node, other: Node) -> None:
    await node.joined_within(10)
    await other.joined_within(10)
    peer = Peer(other)
    session = other.sessions.begin(peer.client)
    said = Emulated(session, other.sessions.name, '{"id":1,"connect":{}}')
    assert await node.emulation.deliver(said) is Outcome.DELIVERED
    await until(lambda: peer.socket.lines)


async def test_a_session_that_says_far_too_much_costs_redis_nothing(node: Node) -> None:
    """Its own instance ends its client for less; but whoever has its secret could go on here."""
    elsewhere = Sessions(UNBOUNDED)
    emulation = Emulation(node.store, node.sessions, ALLOWANCE)
    loud, quiet = (
        Emulated(elsewhere.begin(Peer(node).client), elsewhere.name, "x" * size) for size in (1, 2 * ALLOWANCE.bytes)
    )
    found = [await emulation.deliver(loud) for _ in range(10 * ALLOWANCE.frames)]
    assert found.count(Outcome.TRY_AGAIN) >= ALLOWANCE.frames
    assert found[: 2 * ALLOWANCE.frames] == [Outcome.UNKNOWN] * 2 * ALLOWANCE.frames  # nobody is there
    assert await emulation.deliver(quiet) is Outcome.UNKNOWN


async def test_only_so_many_are_counted(node: Node) -> None:
    elsewhere = Sessions(UNBOUNDED)
    emulation = Emulation(node.store, node.sessions, ALLOWANCE)
    client = Peer(node).client
    for _ in range(MAX_COUNTED + 10):
        emulation._count(Emulated(elsewhere.begin(client), elsewhere.name, "{}"))
    assert len(emulation._counted) == MAX_COUNTED
