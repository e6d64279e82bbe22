"""Commands to connections: whom they hit, what clients see, what the caller is told, in threads and coroutines."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError as ShellError
from django.core.management import call_command

import flotilla
from flotilla import make_connection_token
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.control import Command, Control
from flotilla.realtime.node.node import Node
from flotilla.realtime.node.operations.subscribe import Subscribe
from flotilla.realtime.protocol.codes import CommandError
from flotilla.store import get_store
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio

ROOM = "open:a"
Call = Callable[..., Any]


class Sing(Command, tag="sing"):
    """An operation of another release."""


@pytest.fixture(params=["thread", "coroutine"])
def call(request: pytest.FixtureRequest) -> Call:
    """Calls a function of the API by name, or its twin for coroutines."""
    if request.param == "thread":
        return lambda name, *args, **more: asyncio.to_thread(getattr(flotilla, name), *args, **more)
    return lambda name, *args, **more: getattr(flotilla, f"a{name}")(*args, **more)


async def people(node: Node, *users: str, channel: str = "") -> list[Peer]:
    """Connected users, in a channel if one is given; the node is in the cluster when this returns."""
    peers = [Peer(node) for _ in users]
    for peer, user in zip(peers, users, strict=True):
        await peer.connect(token=make_connection_token(user))
        if channel:
            await peer.subscribe(channel)
    await until(lambda: node.heartbeat.alive and node.presence.alive)
    return peers


def held_up(node: Node) -> asyncio.Event:
    """Nobody becomes present before the event is set: subscriptions are on their way until then."""
    door, enter = asyncio.Event(), node.enter

    async def wait_and_enter(*args: Any) -> None:
        await door.wait()
        await enter(*args)

    node.enter = wait_and_enter  # type: ignore[method-assign]
    return door


class TestWhoIsHit:
    async def test_the_caller_is_told_how_many(self, node: Node, call: Call) -> None:
        """Of how many instances; nobody is no error."""
        await people(node, "1", "1", "2")
        assert await call("disconnect", "1") == (2, 1, 1)
        assert await call("disconnect", "1") == (0, 1, 1)
        assert len(node.clients) == 1

    async def test_a_connection_a_channel_or_all_but_some(self, node: Node, call: Call) -> None:
        """Each names whom it is about."""
        one, two, three, other = await people(node, "1", "1", "1", "2", channel=ROOM)
        await three.ask(unsubscribe={"channel": ROOM})
        assert (await call("disconnect", client=one.client.id)).hit == 1
        assert (await call("disconnect", "2", client=two.client.id)).hit == 0
        assert (await call("disconnect", channel=ROOM, keep=[other.client.id], code=4500)).hit == 1
        assert await two.end() == (4500, "disconnected by the server")
        assert set(node.clients.values()) == {three.client, other.client}

    async def test_everybody_must_be_meant(self, node: Node, call: Call) -> None:
        """A call that names nobody is refused, as is one of an unknown channel."""
        for name, args in (("disconnect", ()), ("refresh", ()), ("subscribe", (None, ROOM))):
            with pytest.raises(ValueError, match="say whom"):
                await call(name, *args)
        for name, args in (("unsubscribe", ("1", "nowhere:a")), ("subscribe", ("1", "nowhere:a"))):
            with pytest.raises(CommandError):
                await call(name, *args)
        with pytest.raises(ValueError, match="123 bytes"):
            await call("disconnect", "1", reason="x" * 124)
        for name, args in (("refresh", ("1",)), ("subscribe", ("1", ROOM))):
            for end in (float("nan"), float("inf")):
                with pytest.raises(ValueError, match="an end is a time"):
                    await call(name, *args, expire_at=end)

    async def test_an_instance_that_is_silent_is_waited_for_until_the_deadline(self, node: Node, call: Call) -> None:
        """Then the caller knows that not all have answered."""
        (peer,) = await people(node, "1")
        node.hub.on_control = None
        began = time.monotonic()
        done = await call("disconnect", "1", within=0.3)
        assert time.monotonic() - began >= 0.3
        assert done == (0, 0, 1)
        assert not done.complete
        assert peer.socket.closed is None


class TestUnsubscribe:
    async def test_everybody_in_a_channel(self, node: Node, call: Call) -> None:
        """Without a user; other channels stay."""
        one, two = await people(node, "1", "2", channel=ROOM)
        await one.subscribe("plain:a")
        assert (await call("unsubscribe", None, ROOM, code=2500)).hit == 2
        assert one.pushes("unsubscribe", ROOM) == [{"code": 2500, "reason": "insufficient state"}]
        assert list(one.client.subscriptions) == ["plain:a"]
        assert two.client.subscriptions == {}

    async def test_one_that_is_on_its_way_is_ended_after_its_reply(self, node: Node) -> None:
        """And not forgotten: the client would stay in a channel it was thrown out of."""
        (peer,) = await people(node, "1")
        door = held_up(node)
        id = peer.say(subscribe={"channel": ROOM})
        await until(lambda: ROOM in peer.client.subscriptions)
        unsubscribing = asyncio.create_task(flotilla.aunsubscribe("1", ROOM))
        await until(lambda: "unsubscribe" in {task.get_name() for task in node._background})
        door.set()
        assert (await unsubscribing).hit == 1
        assert "subscribe" in await peer.reply(id)
        assert [next(iter(line)) for line in peer.socket.lines][-2:] == ["id", "push"]
        assert peer.pushes("unsubscribe", ROOM)
        await node.idle()
        assert await flotilla.apresence(ROOM) == {}


class TestSubscribe:
    async def test_the_client_is_told_and_gets_what_follows(self, node: Node, call: Call) -> None:
        """Every connection of the user, though the namespace would not let them; with data; once."""
        one, two, other = await people(node, "1", "1", "2")
        assert (await call("subscribe", "1", "closed:a", data={"hello": 1})).hit == 2
        assert one.pushes("subscribe", "closed:a") == [{"data": {"hello": 1}}]
        assert two.client.subscriptions["closed:a"].server_side
        assert (await call("subscribe", "1", "closed:a")).hit == 0
        await flotilla.apublish("closed:a", "news")
        await until(lambda: one.data("closed:a") and two.data("closed:a"))
        assert other.client.subscriptions == {}
        assert (await one.ask(subscribe={"channel": "closed:a"}))["error"]["code"] == 105

    async def test_its_position_and_what_was_missed(self, node: Node, call: Call) -> None:
        """The push comes first, then the publications since the position, then live ones."""
        first = await flotilla.apublish(ROOM, 1)
        await flotilla.apublish(ROOM, 2)
        one, two = await people(node, "1", "2")
        since = StreamPosition(first.epoch, first.offset)
        assert (await call("subscribe", "1", ROOM, since=since)).hit == 1
        (told,) = one.pushes("subscribe", ROOM)
        assert told == {"positioned": True, "recoverable": True, "epoch": first.epoch, "offset": 1}
        assert [push["offset"] for push in one.pushes("pub", ROOM)] == [2]
        assert (await call("subscribe", "2", ROOM)).hit == 1
        assert two.pushes("subscribe", ROOM)[0]["offset"] == 2
        await flotilla.apublish(ROOM, 3)
        await until(lambda: one.data(ROOM) == [2, 3] and two.data(ROOM) == [3])

    async def test_info_expiry_and_overrides(self, node: Node, call: Call) -> None:
        """Others see the info; the options count for this subscription."""
        (one,) = await people(node, "1")
        end = time.time() + 60
        options = {"presence": True, "join_leave": True, "force_push_join_leave": True}
        await call("subscribe", "1", "plain:a", info={"role": "guest"}, expire_at=end, overrides=options)
        subscription = one.client.subscriptions["plain:a"]
        assert subscription.expire_at == end
        assert subscription.present and subscription.join_leave
        with pytest.raises(ValueError, match="history_size"):
            await call("subscribe", "1", ROOM, overrides={"history_size": True})
        await call("subscribe", "1", ROOM, info={"role": "guest"})
        (info,) = (await flotilla.apresence(ROOM)).values()
        assert info["chan_info"] == {"role": "guest"}

    async def test_a_full_connection_is_left_as_it_is(self, node: Node, call: Call) -> None:
        """The other connection of the user gets in."""
        full, other = await people(node, "1", "1")
        for number in range(node.config.max_channels):
            await full.subscribe(f"plain:{number}")
        assert (await call("subscribe", "1", ROOM)).hit == 1
        assert ROOM in other.client.subscriptions
        assert full.socket.closed is None

    async def test_a_client_that_leaves_meanwhile_leaves_nothing(self, node: Node) -> None:
        """Not in the channel, nor in its presence."""
        (peer,) = await people(node, "1")
        door = held_up(node)
        giving = asyncio.create_task(flotilla.asubscribe("1", ROOM))
        await until(lambda: ROOM in peer.client.subscriptions)
        peer.client.closed(1006)
        door.set()
        assert (await giving).hit == 0
        await node.idle()
        await until(lambda: not node.hub.channels[ROOM].subscriptions)
        assert await flotilla.apresence(ROOM) == {}


class TestRefresh:
    async def test_the_end_is_moved(self, node: Node, call: Call) -> None:
        """Later, never, or now; codes let the client come back."""
        (peer,) = await people(node, "1")
        end = time.time() + 100
        assert (await call("refresh", "1", expire_at=end, info={"name": "ann"})).hit == 1
        assert peer.client.expire_at == end
        assert peer.client.identity.info == b'{"name":"ann"}'
        await call("refresh", client=peer.client.id)
        assert peer.client.expire_at is None
        assert (await call("refresh", "1", expired=True)).hit == 1
        assert await peer.end() == (3005, "connection expired")

    async def test_an_end_that_has_passed_is_now(self, node: Node, call: Call) -> None:
        """3005 as well."""
        (peer,) = await people(node, "1")
        await call("refresh", "1", expire_at=time.time() - 1)
        assert (await peer.end())[0] == 3005


class TestShell:
    async def run(self, *words: str, **more: Any) -> str:
        out = StringIO()
        await asyncio.to_thread(partial(call_command, *words, stdout=out, **more))
        return out.getvalue()

    async def test_each_command_says_what_it_did(self, node: Node) -> None:
        """By user, connection or channel."""
        one, two = await people(node, "1", "2")
        client = two.client.id
        assert "2 connections subscribed" not in await self.run("subscribe", "closed:a", "--user", "id:1")
        assert "closed:a" in one.client.subscriptions
        assert "1 connections refreshed; 1 of 1" in await self.run("refresh", "--client", client, "--ttl", "50")
        assert "1 subscriptions ended" in await self.run("unsubscribe", "closed:a")
        assert "0 connections and subscriptions ended" in await self.run("reauthorize", "--channel", ROOM)
        assert "1 connections ended" in await self.run("disconnect", "--user", "id:2", "--code", "4501")
        assert (await two.end())[0] == 4501
        assert one.socket.closed is None

    async def test_mistakes_are_said(self, node: Node) -> None:
        """With the mend; a silent instance as well."""
        await people(node, "1")
        for words, said in (
            (("disconnect",), "say whom"),
            (("disconnect", "--user", "id:1", "--code", "7"), "3000 to 4999"),
            (("unsubscribe", "nowhere:a"), "unknown channel"),
        ):
            with pytest.raises(ShellError, match=said):
                await self.run(*words)
        node.hub.on_control = None
        with pytest.raises(ShellError, match="1 instances have not answered"):
            await self.run("disconnect", "--user", "id:1", "--within", "0.2")


async def test_nonsense_on_the_control_channel_harms_nobody(node: Node) -> None:
    """What cannot be read or is unknown is logged; the next command works."""
    (peer,) = await people(node, "1")
    node.dispatcher.receive(b"nonsense")
    await Control(get_store()).tell(Sing())
    await Control(get_store()).tell(Subscribe(user="1", channel="nowhere:a"))
    await Control(get_store()).tell(Subscribe(user="1", channel=ROOM, overrides={"sing": True}))
    assert (await flotilla.adisconnect("1")).hit == 1
    assert await peer.end() == (3503, "force disconnect")
