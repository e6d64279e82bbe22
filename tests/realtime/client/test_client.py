"""A client, with a real node and Redis: its states, the bounds of its messages, its end."""

import asyncio
from typing import Any

import pytest

from flotilla.realtime.client.states import State
from flotilla.realtime.node.node import Node
from tests.realtime.client.nodes import hurry
from tests.realtime.client.peers import Peer
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


class TestStates:
    async def test_an_illegal_transition_names_what_was_expected(self, node: Node) -> None:
        """States are explicit."""
        peer = Peer(node)
        with pytest.raises(RuntimeError, match="AWAITING_CONNECT can become CLOSED, CONNECTING, not CONNECTED"):
            peer.client.move(State.CONNECTED)


class TestBounds:
    async def test_a_message_has_a_largest_size(self, node: Node) -> None:
        """A character more is 1009, without a push: the code says it all."""
        hurry(node, max_message_bytes=100)
        fits, too_big = Peer(node), Peer(node)
        message = '{"id":1,"connect":{"name":"%s"}}'
        filler = "n" * (100 - len(message % ""))
        fits.client.receive(message % filler)
        too_big.client.receive(message % (filler + "n"))
        assert "connect" in await fits.reply(1)
        assert (await too_big.end())[0] == 1009

    async def test_bytes_are_counted_in_text_too(self, node: Node) -> None:
        """The bound is in bytes, whatever the characters."""
        hurry(node, max_message_bytes=100)
        peer = Peer(node)
        peer.client.receive('{"id":1,"connect":{"name":"%s"}}' % ("é" * 60))
        assert (await peer.end())[0] == 1009

    async def test_a_slow_client_is_closed_after_the_fan_out(self, node: Node) -> None:
        """3008, not from within the socket's own call."""
        peer = Peer(node)
        await peer.connect()
        assert peer.socket.on_slow is not None
        peer.socket.on_slow()
        assert peer.socket.closed is None
        assert (await peer.end())[0] == 3008


class TestTheEnd:
    async def test_nothing_is_left(self, node: Node, redis_process: RedisProcess) -> None:
        """Clients, users, hub, timers, presence: a closed connection is nowhere."""
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe("people:a")
        assert await node.presence.stats("c:people:a") == (1, 1)
        peer.client.closed(1006)
        peer.client.closed(1000)
        assert node.clients == {} and node.users == {}
        assert node.hub.channels["people:a"].subscriptions == []
        assert peer.client.slot == 0
        await node.idle()
        assert await node.presence.stats("c:people:a") == (0, 0)
        assert await node.presence.stats("u:") == (0, 0)

    async def test_a_close_in_the_middle_of_a_subscribe_leaves_nothing(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Wherever the command was, the hub and presence are left."""
        inner = node.presence.add
        for moment in ("hub", "presence"):
            peer = Peer(node)
            await peer.connect()
            entered = asyncio.Event()

            async def add(*args: Any) -> bool:
                entered.set()  # noqa: B023
                return await inner(*args)

            monkeypatch.setattr(node.presence, "add", add)
            peer.say(subscribe={"channel": f"people:{moment}"})
            await (entered.wait() if moment == "presence" else asyncio.sleep(0))
            peer.client.closed(1006)
            await until(lambda p=peer: p.client.commands._worker is None)  # type: ignore[misc]
            scope = f"c:people:{moment}"
            await until(lambda s=scope: stats_are_zero(node, s))  # type: ignore[misc]
            channel = node.hub.channels.get(f"people:{moment}")
            assert channel is None or channel.subscriptions == []

    async def test_nothing_is_sent_after_the_end(self, node: Node) -> None:
        """Neither replies nor publications (the socket would say so)."""
        peer, other = Peer(node), Peer(node)
        await peer.connect()
        await other.connect()
        await peer.subscribe("open:a")
        peer.say(publish={"channel": "open:a", "data": 1})
        peer.client.disconnect(4001, "enough")
        await other.ask(publish={"channel": "open:a", "data": 2})
        peer.client.receive('{"id":9,"presence":{"channel":"open:a"}}')
        assert await peer.end() == (4001, "enough")

    async def test_a_second_disconnect_is_ignored(self, node: Node) -> None:
        """The first one counts."""
        peer = Peer(node)
        peer.client.disconnect(3001)
        peer.client.disconnect(3503)
        assert await peer.end() == (3001, "shutdown")

    async def test_draining_sends_everybody_away(self, node: Node) -> None:
        """3001 to each, and presence is empty when it returns."""
        peers = [Peer(node) for _ in range(5)]
        for peer in peers:
            await peer.connect()
            await peer.subscribe("people:a")
        await node.drain(2.0)
        assert [await peer.end() for peer in peers] == [(3001, "shutdown")] * 5

    async def test_losing_the_position_is_told(self, node: Node, redis_process: RedisProcess) -> None:
        """Push 2500 for a client's own subscription, 3010 for a server's."""
        peer, served = Peer(node), Peer(node)
        for one in (peer, served):
            await one.connect()
            await one.subscribe("open:a")
        served.client.subscriptions["open:a"].server_side = True
        redis_process.ask("FLUSHALL")
        node.hub.resync()
        await until(lambda: peer.pushes("unsubscribe", "open:a") == [{"code": 2500, "reason": "insufficient state"}])
        assert (await served.end())[0] == 3010
        assert "epoch" in await peer.subscribe("open:a")


async def stats_are_zero(node: Node, scope: str) -> bool:
    return await node.presence.stats(scope) == (0, 0)
