"""Connections of one user, counted over all instances: never one too many, and nobody is turned away for the dead."""

import asyncio
from typing import Any

import pytest

from flotilla import make_connection_token
from flotilla.realtime.conf import get_config
from flotilla.realtime.node.node import Node
from tests.realtime.client.nodes import REALTIME
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


@pytest.fixture(params=["refuse"])
def policy(request: pytest.FixtureRequest) -> str:
    """What happens to one too many."""
    return str(request.param)


@pytest.fixture
def configured(configured: Any, policy: str) -> Any:
    """Two connections for each user."""
    configured.REALTIME = REALTIME | {"max_connections_per_user": 2, "connection_limit_policy": policy}
    get_config.reset()
    return configured


async def arrive(node: Node, user: str = "1") -> tuple[Peer, dict[str, Any] | None]:
    """A client, and the reply to its connect; None when it was closed instead."""
    peer = Peer(node)
    peer.say(connect={"token": make_connection_token(user)})
    await until(lambda: peer.socket.lines, within=10)
    first = peer.socket.lines[0]
    return peer, first if "id" in first else None


class TestRefusing:
    async def test_one_too_many_is_turned_away_for_good(self, node: Node, other: Node) -> None:
        """Whichever instance it comes to; another user, and one that comes when a place is free, are let in."""
        first, _ = await arrive(node)
        await arrive(other)
        for instance in (node, other):
            late, reply = await arrive(instance)
            assert reply is None
            assert await late.end() == (3504, "connection limit")
        assert (await arrive(node, "2"))[1]
        first.client.closed(1000)
        await node.idle()
        assert (await arrive(other))[1]

    async def test_never_more_though_all_come_at_once(self, node: Node, other: Node) -> None:
        """Two are in, eight are not."""
        arrived = await asyncio.gather(*(arrive((node, other)[i % 2]) for i in range(10)))
        assert sum(reply is not None for _, reply in arrived) == 2
        assert len(node.users.get("1", ())) + len(other.users.get("1", ())) == 2

    async def test_visitors_are_not_one_user(self, node: Node) -> None:
        """Any number of them."""
        for _ in range(4):
            await Peer(node).connect()

    async def test_nobody_is_refused_for_the_dead(self, node: Node, other: Node) -> None:
        """Clients of an instance that was killed come at once: they wait, or come again, until it is reaped."""
        await arrive(other)
        await arrive(other)
        await kill(other)
        for _ in range(2):
            reply: dict[str, Any] | None = {"error": {"code": 100}}
            while reply is not None and "error" in reply:
                assert reply["error"]["code"] == 100
                _, reply = await arrive(node)
            assert reply is not None

    async def test_nobody_is_refused_for_those_that_may_be_dying(self, node: Node, other: Node) -> None:
        """Their instance does not answer: the client is told to try again, which a final no would forbid."""
        await arrive(other)
        await arrive(other)
        other.hub.on_control = None
        peer, reply = await arrive(node)
        assert reply is not None
        assert reply["error"]["code"] == 100
        assert peer.socket.closed is None


class TestTheOldestGoes:
    @pytest.fixture
    def policy(self) -> str:
        return "oldest"

    async def test_it_makes_room(self, node: Node, other: Node) -> None:
        """Wherever it is; the newcomer is in."""
        first, _ = await arrive(other)
        second, _ = await arrive(node)
        third, reply = await arrive(node)
        assert reply and "connect" in reply
        assert await first.end() == (3504, "connection limit")
        fourth, reply = await arrive(other)
        assert reply and "connect" in reply
        assert await second.end() == (3504, "connection limit")
        assert third.socket.closed is fourth.socket.closed is None


async def kill(node: Node) -> None:
    """Leave a node as a killed process does that its supervisor saw: its entries stay, its lease has ended."""
    for task in node.presence._tasks:
        task.cancel()
    await asyncio.gather(*node.presence._tasks, return_exceptions=True)
    node.hub.on_control = None
    await node.presence.expire(node.presence.incarnation)
