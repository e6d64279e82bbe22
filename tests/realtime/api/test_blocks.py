"""Who is blocked: refused at connect, ended when connected, also on the way in; on every instance."""

import asyncio
import os
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError as ShellError
from django.core.management import call_command

import flotilla
from flotilla import ablock, asend_message, aunblock, make_connection_token
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.consumers import ConnectionConsumer
from flotilla.realtime.node import node as nodes
from flotilla.realtime.node.node import Node
from flotilla.store import get_store
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


async def arrive(node: Node, user: str = "1") -> Peer:
    peer = Peer(node)
    peer.say(connect={"token": make_connection_token(user)} if user else {})
    await until(lambda: peer.socket.lines)
    return peer


async def is_out(peer: Peer) -> bool:
    """Whether it was refused or ended for a block."""
    code, reason = await peer.end()
    return code == 3507 and reason.startswith("blocked until 20")


class TestUsers:
    async def test_out_on_every_instance_until_unblocked(self, node: Node, other: Node) -> None:
        """Those connected are ended, those who come are refused; others stay."""
        here, there, neighbour = await arrive(node), await arrive(other), await arrive(node, "2")
        done = await ablock("1", seconds=60)
        assert done == (2, 2, 2)
        late = await arrive(node)
        for peer in (here, there, late, await arrive(other)):
            assert await is_out(peer)
        assert not late.client.registered  # refused before anything was done for it
        assert neighbour.socket.closed is None
        assert await aunblock("1")
        assert not await aunblock("1")
        for instance in (node, other):
            assert (await arrive(instance)).socket.closed is None
        await node.idle()
        await other.idle()

    async def test_one_who_is_on_the_way_in_does_not_slip_through(self, node: Node) -> None:
        """The block comes after they said who they are, and before they are in."""
        door, enter = asyncio.Event(), node.enter

        async def wait_and_enter(*args: Any) -> None:
            await door.wait()
            await enter(*args)

        node.enter = wait_and_enter  # type: ignore[method-assign]
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        peer = Peer(node)
        peer.say(connect={"token": make_connection_token("1")})
        await until(lambda: peer.client.registered)
        assert (await ablock("1", seconds=60)).hit == 0
        door.set()
        assert await is_out(peer)
        await node.idle()
        assert not await node.presence.members("u:1")

    async def test_an_instance_that_did_not_hear_of_it_reads_it(self, node: Node) -> None:
        """And ends who is connected there."""
        peer = await arrive(node)
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        node.hub.on_control = None
        assert (await ablock("1", seconds=60, within=0.1)).answered == 0
        assert await is_out(peer)

    async def test_before_the_list_was_read_nobody_is_in(self, node: Node, other: Node) -> None:
        """A client that comes to an instance that just started has it read."""
        await other.blocks.close()
        await ablock("1", seconds=60)
        other.blocks._ends, other.blocks._version = {}, None
        assert await is_out(await arrive(other))


class TestAddresses:
    async def test_visitors_too(self, node: Node) -> None:
        """Peers of these tests come from 192.0.2.1."""
        user, visitor = await arrive(node), await arrive(node, "")
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        assert (await ablock(address="192.0.2.2", seconds=60)).hit == 0
        assert (await ablock(address="::ffff:192.0.2.1", seconds=60)).hit == 2
        for peer in (user, visitor, await arrive(node, "")):
            assert await is_out(peer)

    async def test_ipv6_by_its_network(self, node: Node) -> None:
        """As limits count it."""
        near, far = await arrive(node), await arrive(node)
        near.client.address, far.client.address = "2001:db8::aaaa:1", "2001:db8:0:1::1"
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        assert (await ablock(address="2001:db8::1", seconds=60)).hit == 1
        assert await is_out(near)
        assert far.socket.closed is None

    async def test_behind_trusted_proxies(self, node: Node, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The client is told at the door, before it says anything; a header of its own making counts for nothing."""
        settings.RATE_LIMIT_TRUSTED_PROXIES = ["10.0.0.1"]
        monkeypatch.setattr(nodes, "_node", (os.getpid(), node))
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        await ablock(address="203.0.113.7", seconds=60)

        async def knock(peer: str, forwarded: str) -> list[dict[str, Any]]:
            sent: list[dict[str, Any]] = []
            events = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}])

            async def receive() -> dict[str, Any]:
                return next(events)

            async def send(event: dict[str, Any]) -> None:
                sent.append(event)

            headers = [(b"x-forwarded-for", forwarded.encode())]
            await ConnectionConsumer()({"type": "websocket", "client": (peer, 1), "headers": headers}, receive, send)
            await until(lambda: len(sent) == 3 or not forwarded.startswith("203"))
            return sent

        accepted, told, closed = await knock("10.0.0.1", "203.0.113.7")
        assert accepted["type"] == "websocket.accept"
        assert "blocked until" in told["text"]
        assert closed["code"] == 3507
        for peer, forwarded in (("10.0.0.1", "198.51.100.1"), ("192.0.2.9", "10.1.1.1, 203.0.113.7")):
            assert [event["type"] for event in await knock(peer, forwarded)] == ["websocket.accept"]


class TestFromOutside:
    async def test_what_cannot_be_is_refused(self, node: Node) -> None:
        """Nobody, two at once, a time that is none; nobody for a message."""
        for args, wrong in (
            (("1",), {"seconds": 0}),
            (("1",), {"seconds": float("nan")}),
            ((), {"seconds": 1}),
            (("1",), {"seconds": 1, "address": "192.0.2.1"}),
        ):
            with pytest.raises(ValueError, match=r"whom|lasts"):
                await ablock(*args, **wrong)
        with pytest.raises(ValueError, match="say whom"):
            await asend_message(None, 1)

    async def test_an_address_that_matches_nobody_is_refused_and_can_be_taken_out_where_it_is(self, node: Node) -> None:
        """It may have come into the list before it was looked at."""
        for address in ("10.9.9.9/8", "192.0.2.300", "192.0.2.1, 192.0.2.2"):
            with pytest.raises(ValueError, match="write"):
                await ablock(address=address, seconds=60)
            await asyncio.to_thread(blocklist.add, get_store(), f"a:{address}", 60, {})
            assert await aunblock(address=address)
        peer = await arrive(node)
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        for address in (" 192.0.2.1 ", "192.0.2.1/32", "::ffff:c000:201"):
            assert (await ablock(address=address, seconds=60)).answered == 1
        assert await is_out(peer)
        assert await aunblock(address="192.0.2.1/32")
        assert not await aunblock(address="192.0.2.1")

    async def test_from_a_shell(self, node: Node) -> None:
        """With what was done, in words."""
        peer = await arrive(node)
        await until(lambda: node.heartbeat.alive and node.presence.alive)

        async def shell(*words: str) -> str:
            out = StringIO()
            await asyncio.to_thread(call_command, *words, stdout=out)
            return out.getvalue()

        said = await shell("block", "--user", "id:1", "--seconds", "60", "--note", "spam")
        assert said == "user: id 1\nblocked, 1 connections ended; 1 of 1 instances answered.\n"
        assert await is_out(peer)
        assert await shell("unblock", "--user", "id:1") == "user: id 1\nunblocked\n"
        with pytest.raises(ShellError, match="not blocked"):
            await shell("unblock", "--user", "id:1")
        with pytest.raises(ShellError, match="say whom"):
            await shell("block", "--seconds", "60")
        for address in ("10.9.9.9/8", "10.0.0.300", "2001:db8::/32"):
            with pytest.raises(ShellError, match="write"):
                await shell("block", "--address", address, "--seconds", "60")

    async def test_messages(self, node: Node, other: Node) -> None:
        """To a user everywhere, to one connection, to a channel."""
        here, there = await arrive(node), await arrive(other)
        await there.subscribe("open:a")
        assert (await asend_message("1", {"n": 1})).hit == 2
        assert (await asyncio.to_thread(flotilla.send_message, None, 2, client=here.client.id)).hit == 1
        assert (await asend_message(None, [3], channel="open:a")).hit == 1

        def told(peer: Peer) -> list[Any]:
            return [line["push"]["message"]["data"] for line in peer.socket.lines if "message" in line.get("push", {})]

        assert (told(here), told(there)) == ([{"n": 1}, 2], [{"n": 1}, [3]])
