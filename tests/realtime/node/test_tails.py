"""Following a channel, a user or a connection live: what is seen from two instances, what is masked, what bounds it,
and that nothing is left of it when nobody looks any more."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from flotilla import make_connection_token
from flotilla.realtime.api import tails as looking
from flotilla.realtime.api.tails import About, Look, begin, collect_sync, end_sync, follow
from flotilla.realtime.node import node as node_module
from flotilla.realtime.node import tails
from flotilla.realtime.node.control import Control, tail_key
from flotilla.realtime.node.node import Node
from flotilla.realtime.node.operations.tail import Tail
from flotilla.realtime.node.tail_events import Event
from flotilla.realtime.node.tapped_socket import TappedSocket
from flotilla.store import get_store
from tests.realtime.client.peers import EventsPeer, Peer, ProtobufPeer, error
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


class Looker:
    """Follows something, and keeps what it sees."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.seen: list[Event] = []
        self.is_done = False

    async def run(self) -> None:
        async with aclosing(follow(self.look)) as batches:
            async for batch in batches:
                self.seen += batch
        self.is_done = True

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.seen if event.kind == kind]

    async def sees(self, kind: str, count: int = 1, **fields: Any) -> list[Event]:
        """Events of a kind, when there are so many."""

        def found() -> list[Event]:
            fitting = [event for event in self.of(kind) if all(getattr(event, key) == fields[key] for key in fields)]
            return fitting if len(fitting) >= count else []

        return await until(found, what=f"{count} {kind} {fields}")


@asynccontextmanager
async def following(about: About, name: str, *nodes: Node, **options: Any) -> AsyncIterator[Looker]:
    """Follow while the block runs; every node does, from the first line on."""
    look, done = await sync_to_async(begin)(about, name, **options)
    assert done.hit == done.instances == len(nodes)
    looker = Looker(look)
    task = asyncio.create_task(looker.run())
    try:
        yield looker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await until(lambda: all(at_rest(node) for node in nodes), what="nothing is left")


def at_rest(node: Node) -> bool:
    """Whether nobody looks at anything here, and it is as if nobody ever had."""
    own = not any(isinstance(client.socket, TappedSocket) for client in node.clients.values())
    sockets = [socket for channel in node.hub.channels.values() for _, socket in channel.followers.sockets()]
    deaf = not node.tails._bystander._mailbox
    return node.taps is None and own and deaf and not any(isinstance(one, TappedSocket) for one in sockets)


async def user(node: Node, name: str, *channels: str) -> Peer:
    await ready(node)
    peer = Peer(node)
    await peer.connect(token=make_connection_token(name), name="app", version="1.2")
    for channel in channels:
        await peer.subscribe(channel)
    return peer


async def ready(*nodes: Node) -> None:
    await until(lambda: all(node.heartbeat.alive and node.presence.alive for node in nodes))


class TestWhatIsSeen:
    async def test_a_channel_is_seen_once_from_all_instances(self, node: Node, other: Node) -> None:
        """Both have subscribers and hear each publication; joins, commands and errors are those of either."""
        ann, bob = await user(node, "ann", "people:a"), await user(other, "bob", "people:a")
        async with following("channel", "people:a", node, other) as looker:
            await ann.ask(publish={"channel": "people:a", "data": {"secret": 1}})
            await bob.ask(publish={"channel": "people:a", "data": 2})
            seen = await looker.sees("publication", 2)
            assert [(one.user, one.size, one.data) for one in seen] == [("ann", 13, None), ("bob", 1, None)]
            carol = await user(other, "carol", "people:a")
            assert (await looker.sees("join"))[0].client == carol.client.id
            assert await carol.ask(subscribe={"channel": "people:a"}) == error(105)
            (refused,) = await looker.sees("error")
            assert (refused.user, refused.text) == ("carol", "subscribe: 105 already subscribed")
            carol.client.closed(1001, "went away")
            assert (await looker.sees("leave"))[0].user == "carol"
            (gone,) = await looker.sees("disconnected", user="carol")
            assert (gone.channel, gone.text, gone.instance) == ("people:a", "1001 went away", "unit-1")
            assert [one.text for one in await looker.sees("command", user="carol")] == ["subscribe", "subscribe"]
            assert len(looker.of("publication")) == 2
        assert ann.data("people:a") == bob.data("people:a") == [{"secret": 1}, 2]

    async def test_a_channel_without_subscribers_is_heard(self, node: Node) -> None:
        """From any process of the project; it gets none by that."""
        await ready(node)
        async with following("channel", "open:a", node, payloads=True) as looker:
            await until(lambda: node._layer.groups)
            await asyncio.sleep(0)
            await node.broker.publish("open:a", b'{"data":"hello"}', node.config.namespaces["open"])
            (seen,) = await looker.sees("publication")
            assert (seen.data, seen.offset, seen.user) == ('"hello"', 1, "")
            assert "open:a" not in node.hub.channels

    async def test_a_user_is_seen_wherever_they_connect(self, node: Node, other: Node) -> None:
        """What they ask, are told, and are given; those who were there and those who come; others are not."""
        ann = await user(node, "ann", "open:a")
        eve = await user(node, "eve", "open:a")
        async with following("user", "ann", node, other, payloads=True) as looker:
            await eve.ask(publish={"channel": "open:a", "data": "from eve"})
            (given,) = await looker.sees("publication")
            assert (given.data, given.user, given.instance) == ('"from eve"', "eve", "unit-0")
            second = await user(other, "ann", "open:a")
            assert (await looker.sees("connected"))[0].client == second.client.id
            await second.ask(publish={"channel": "open:a", "data": [1]})
            assert len(await looker.sees("publication", 2, data="[1]")) == 2  # both of hers are given it
            (command,) = await looker.sees("command", text="publish")
            assert (command.client, command.data) == (second.client.id, "[1]")
            assert await ann.ask(publish={"channel": "closed:a", "data": 1}) == error(103)
            assert (await looker.sees("error"))[0].text == "publish: 103 permission denied"
            assert {event.user for event in looker.of("command") + looker.of("error")} == {"ann"}
        assert ann.data("open:a") == ["from eve", [1]]

    async def test_a_connection_is_seen_alone_and_to_its_end(self, node: Node) -> None:
        """Not its user's others."""
        one, two = await user(node, "ann", "open:a"), await user(node, "ann", "open:a")
        async with following("client", one.client.id, node) as looker:
            await two.ask(publish={"channel": "open:a", "data": 1})
            await one.ask(history={"channel": "open:a", "limit": 1})
            await looker.sees("publication", channel="open:a")
            one.client.disconnect(3503)
            assert (await looker.sees("disconnected"))[0].text == "3503 force disconnect"
            assert {event.client for event in looker.of("command")} == {one.client.id}
            assert len(looker.of("publication")) == 1

    async def test_clients_that_speak_protobuf_are_seen_as_well(self, node: Node) -> None:
        """Bytes that are no text are told as far as they are one."""
        await ready(node)
        bob = ProtobufPeer(node)
        await bob.connect(token=make_connection_token("bob"))
        for channel in ("open:a", "raw:a"):
            await bob.subscribe(channel)
        async with following("user", "bob", node, payloads=True) as looker:
            await bob.ask(publish={"channel": "open:a", "data": [1]})
            await bob.ask(publish={"channel": "raw:a", "data": b"a\xff"})
            (seen, raw) = await looker.sees("publication", 2)
            assert (seen.data, seen.user, seen.channel, seen.offset) == ("[1]", "bob", "open:a", 1)
            assert (raw.data, raw.size, raw.channel) == ("a\ufffd", 2, "raw:a")
            bob.client.end_subscription(bob.client.subscriptions["raw:a"], 2000, "server unsubscribe")
            assert (await looker.sees("unsubscribed"))[0].text == "2000 server unsubscribe"
        async with following("channel", "raw:a", node, payloads=True) as looker:
            await bob.ask(publish={"channel": "raw:a", "data": b"b"})
            assert (await looker.sees("publication"))[0].data == "b"

    async def test_clients_that_get_events_are_seen_as_well(self, node: Node) -> None:
        await ready(node)
        bob = EventsPeer(node)
        await bob.connect(token=make_connection_token("bob"))
        await bob.subscribe("open:a")
        async with following("user", "bob", node, payloads=True) as looker:
            await bob.ask(publish={"channel": "open:a", "data": [1]})
            assert (await looker.sees("publication"))[0].data == "[1]"

    async def test_secrets_are_never_told(self, node: Node) -> None:
        """Not even with payloads: tokens, and what came along with them."""
        ann = await user(node, "ann")
        async with following("client", ann.client.id, node, payloads=True) as looker:
            await ann.ask(subscribe={"channel": "open:a", "token": "a.secret.token", "data": "with it"})
            ann.say(refresh={"token": "another.secret.token"})
            await looker.sees("command", text="refresh")
            assert "secret" not in repr(looker.seen)
            assert "with it" not in repr(looker.seen)


class TestBounds:
    async def test_more_than_may_be_passed_on_is_counted(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """And nobody else notices: every publication arrives."""
        monkeypatch.setattr(tails, "AT_ONCE", 3)
        monkeypatch.setattr(tails, "PASS_ON_EVERY", 0.5)
        ann = await user(node, "ann", "plain:a")
        async with following("client", ann.client.id, node) as looker:
            for number in range(40):
                await node.broker.publish("plain:a", b'{"data":%d}' % number, node.config.namespaces["plain"])
            await until(lambda: len(ann.data("plain:a")) == 40)
            await until(lambda: sum(int(one.text) for one in looker.of("more")) + len(looker.of("publication")) == 40)
            assert looker.of("more")

    async def test_so_many_at_a_time(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """One more is refused, until another ends."""
        await ready(node)
        monkeypatch.setattr(tails, "MAX_TAILS", 2)
        looks = [(await sync_to_async(begin)("user", name))[0] for name in ("a", "b")]
        assert (await sync_to_async(begin)("user", "c"))[1].hit == 0
        await sync_to_async(end_sync)(looks[0])
        await until(lambda: len(node.tails._tails) == 1)
        assert (await sync_to_async(begin)("user", "c"))[1].hit == 1

    async def test_it_ends_by_itself(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """When its time is up, or so much was shown; and when whoever looked is gone without a word."""
        ann = await user(node, "ann", "open:a")
        async with following("client", ann.client.id, node, seconds=0.1) as looker:
            await until(lambda: looker.is_done)
        monkeypatch.setattr(looking, "MAX_EVENTS", 2)
        async with following("client", ann.client.id, node) as looker:
            for _ in range(4):
                await ann.ask(presence_stats={"channel": "open:a"})
            await until(lambda: looker.is_done)
            assert len(looker.seen) == 2
        monkeypatch.setattr(tails, "LEASE", 0.3)
        look, _ = await sync_to_async(begin)("client", ann.client.id)
        assert isinstance(ann.client.socket, TappedSocket)
        await until(lambda: at_rest(node))
        await ann.ask(presence_stats={"channel": "open:a"})
        assert not await node.store.first.execute("EXISTS", tail_key(look.id))

    async def test_what_nobody_collects_does_not_stay(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is bounded, and runs out."""
        monkeypatch.setattr(tails, "MAX_WAITING", 2)
        monkeypatch.setattr(tails, "PASS_ON_EVERY", 0.01)
        ann = await user(node, "ann")
        look, _ = await sync_to_async(begin)("client", ann.client.id)
        for _ in range(5):
            await ann.ask(presence_stats={"channel": "open:a"})
            await until(lambda: not node.tails._tails[look.id].seen)
        assert await node.store.first.execute("LLEN", tail_key(look.id)) == 2
        assert 0 < await node.store.first.execute("TTL", tail_key(look.id)) <= 15
        assert len(await sync_to_async(collect_sync)(look)) == 2

    async def test_a_process_that_drains_leaves_it_to_another(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The stream ends there, the tail does not."""
        ann = await user(node, "ann")
        look, _ = await sync_to_async(begin)("client", ann.client.id)
        monkeypatch.setattr(node_module, "_node", (os.getpid(), node))
        looker = Looker(look)
        task = asyncio.create_task(looker.run())
        await ann.ask(presence_stats={"channel": "open:a"})
        await looker.sees("command")
        node.draining = True
        await task
        assert look.id in node.tails._tails
        node.draining = False
        await ann.ask(presence_stats={"channel": "open:a"})
        await until(lambda: sync_collected(look))

    async def test_an_instance_that_starts_later_follows_too(self, node: Node, other: Node) -> None:
        """Whoever looks says so again and again."""
        async with following("user", "bob", node, other) as looker:
            await other.tails.end(looker.look.id)
            assert other.taps is None
            await until(lambda: other.taps is not None)
            await user(other, "bob")
            await looker.sees("connected")

    async def test_what_cannot_be_understood_is_nobodys_fault(self, node: Node) -> None:
        """An end of what nobody follows, and a name that is no thing."""
        await ready(node)
        control = Control(get_store())
        assert (await control.order(Tail(id="nobody", over=True))).hit == 0
        assert (await control.order(Tail(id="odd", about="moon", name="\0"))).hit == 0
        assert (await control.order(Tail())).hit == 0
        assert at_rest(node)


async def sync_collected(look: Look) -> list[Event]:
    return await sync_to_async(collect_sync)(look)
