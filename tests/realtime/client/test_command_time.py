"""The time of a command counts from its arrival: whoever waits behind a slow one is answered as early as it is."""

import asyncio
import json
import threading
from functools import partial
from typing import Any

import pytest

from flotilla.realtime import rpc
from flotilla.realtime.access.identity import Identity, ServerSub
from flotilla.realtime.client import command_time
from flotilla.realtime.engine.publisher import Publisher
from flotilla.realtime.node.node import Node
from flotilla.store import StoreUnavailable
from flotilla.store.waiting import Waiting
from tests.realtime.client.peers import Peer
from tests.store.pausing import hung
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

AWAY = {"error": {"code": 100, "message": "internal server error", "temporary": True}}
IN_TIME = 5.0 + 1.5  # seconds: SDKs give up after 5, the rest is for a busy machine


@pytest.fixture
def redis_url(mortal_redis: RedisProcess) -> str:
    """Instead of the shared one: this one is stopped."""
    return mortal_redis.url


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands have little time, for tests that need no Redis that hangs."""
    monkeypatch.setattr(command_time, "COMMAND_WITHIN", 0.5)


def answered(peer: Peer, *ids: int) -> bool:
    return all(peer._replies(id) for id in ids)


class TestHungRedis:
    async def test_pipelined_subscribes_are_told_together(self, node: Node, mortal_redis: RedisProcess) -> None:
        """None waits until those before it have used up their own time; and nothing is left of any of them."""
        peer, other = Peer(node), Peer(node)
        await peer.connect()
        await other.connect()
        await other.subscribe("people:0")  # the channel is live: the subscribe gets as far as presence
        with hung(mortal_redis):
            ids = [peer.say(subscribe={"channel": f"people:{n}"}) for n in range(5)]
            ids.append(peer.say(presence={"channel": "people:0"}))
            ids.append(peer.say(history={"channel": "open:0"}))
            await until(lambda: answered(peer, *ids), IN_TIME, "every command is answered")
            for id in ids:
                assert await peer.reply(id) == AWAY
            assert not peer.client.subscriptions
            assert {s for c in node.hub.channels.values() for s in c.subscriptions} == set(
                other.client.subscriptions.values()
            )
        for n in range(5):
            there = {other.client.id} if n == 0 else set()
            await until(partial(_are_in, node, f"c:people:{n}", there), what="only the other is present")
        assert "subscribe" in await peer.ask(subscribe={"channel": "people:0"})

    async def test_a_publication_behind_a_waiting_command_is_told_in_time(
        self, node: Node, mortal_redis: RedisProcess
    ) -> None:
        """Although its own call of Redis begins only when the others have given up."""
        peer = Peer(node)
        await peer.connect()
        with hung(mortal_redis):
            first = peer.say(publish={"channel": "open:a", "data": 1})
            waiting = peer.say(subscribe={"channel": "open:a"})
            behind = [peer.say(publish={"channel": "open:a", "data": n}) for n in range(3)]
            await until(lambda: answered(peer, first, waiting, *behind), IN_TIME, "every command is answered")
            for id in (first, waiting, *behind):
                assert await peer.reply(id) == AWAY
        await until(lambda: peer.client.commands.unanswered == 0)

    async def test_connect_and_what_came_with_it(self, node: Node, mortal_redis: RedisProcess) -> None:
        """The connect command has its time from its arrival too; what came with it is not answered."""
        peer = Peer(node)
        with hung(mortal_redis):
            peer.client.receive('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"open:a"}}')
            await until(lambda: answered(peer, 1), IN_TIME)
            assert await peer.reply(1) == AWAY
            assert not peer._replies(2)


async def _are_in(node: Node, scope: str, clients: set[str]) -> bool:
    try:
        return set(await node.presence.members(scope)) == clients
    except StoreUnavailable:  # the link has not tried again yet
        return False


class TestBehindSlowCode:
    async def test_what_was_answered_is_not_done_later(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, quick: None
    ) -> None:
        """A command whose time is over when its turn comes is not begun; only `unsubscribe` is, in its order."""
        done: list[Any] = []
        end = asyncio.Event()

        async def slow(user: Any, data: Any) -> None:
            done.append(data)
            await end.wait()

        monkeypatch.setattr(rpc, "methods", {"slow": slow})
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe("open:a")
        slow_ids = [peer.say(rpc={"method": "slow", "data": n}) for n in range(3)]
        published = peer.say(publish={"channel": "open:b", "data": 1})
        left = peer.say(unsubscribe={"channel": "open:a"})
        again = peer.say(subscribe={"channel": "open:a"})
        for id in (*slow_ids, published, again):
            assert await peer.reply(id) == AWAY
        assert await peer.reply(left) == {"unsubscribe": {}}
        assert done == [0]
        assert not peer.client.subscriptions
        position = (await peer.ask(history={"channel": "open:b"}))["history"]
        assert position["offset"] == 0
        answers = [line["id"] for line in peer.socket.lines if line.get("id", 0) >= slow_ids[0]]
        assert answers == sorted(answers)

    @pytest.mark.django_db(transaction=True)
    async def test_a_thread_that_is_slow_is_not_waited_for(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, quick: None
    ) -> None:
        """It cannot be stopped, but its client is answered in time, and so is who waits behind it."""
        end = threading.Event()
        monkeypatch.setattr(rpc, "methods", {"slow": lambda user, data: end.wait(20)})
        peer = Peer(node)
        await peer.connect()
        try:
            ids = [peer.say(rpc={"method": "slow", "data": 1}), peer.say(history={"channel": "open:a"})]
            for id in ids:
                assert await peer.reply(id) == AWAY
        finally:
            end.set()

    async def test_a_handler_that_does_not_end_is_not_waited_for(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, quick: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not even one that goes on when it is told to stop: the connection's other commands are done meanwhile."""
        end = asyncio.Event()

        async def stubborn(user: Any, data: Any) -> int:
            while not end.is_set():
                try:
                    await end.wait()
                except asyncio.CancelledError:
                    continue
            return 1

        monkeypatch.setattr(rpc, "methods", {"slow": stubborn})
        peer = Peer(node)
        await peer.connect()
        try:
            slow = peer.say(rpc={"method": "slow", "data": 1})
            assert await peer.reply(slow) == AWAY
            assert "history" in await peer.ask(history={"channel": "open:a"})
        finally:
            end.set()

    async def test_a_message_whose_time_is_over_is_not_handed_on(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, quick: None
    ) -> None:
        """`send` has no answer, but its time as well: it holds nobody up."""
        taken: list[Any] = []

        async def slow(user: Any, data: Any) -> None:
            taken.append(data)
            await asyncio.Event().wait()

        monkeypatch.setattr(rpc, "message_handlers", [slow])
        peer = Peer(node)
        await peer.connect()
        for n in range(3):
            peer.client.receive(json.dumps({"send": {"data": n}}))
        behind = peer.say(history={"channel": "open:a"})
        assert await peer.reply(behind) == AWAY
        assert taken == [0]
        assert "history" in await peer.ask(history={"channel": "open:a"})

    async def test_a_publication_that_a_hook_held_up_is_told_in_time(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, quick: None
    ) -> None:
        """What is left of its time is Redis's; an answer that comes after it is not a second reply."""
        sent: list[Waiting] = []

        async def slow(user: Any, data: Any) -> None:
            await asyncio.sleep(0.1)

        monkeypatch.setattr(rpc, "methods", {"slow": slow})
        monkeypatch.setattr(Publisher, "send", lambda publisher, body, waiting: sent.append(waiting))
        peer = Peer(node)
        await peer.connect()
        peer.say(rpc={"method": "slow", "data": 1})
        id = peer.say(publish={"channel": "open:a", "data": 1})
        assert await peer.reply(id) == AWAY
        assert len(sent) == 1
        assert sent[0].done()  # whoever brings an answer now finds that nobody waits for it
        assert peer.client.commands.unanswered == 0
        assert await peer.reply(id) == AWAY

    async def test_a_connect_that_took_too_long_leaves_nothing(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, quick: None
    ) -> None:
        """Of the server's own subscriptions those that were in place already are taken back."""

        async def known(*_: Any, **__: Any) -> Identity:
            return Identity(user="ann", channels=(ServerSub("people:fast"), ServerSub("people:slow")))

        inner = node.presence.add

        async def add(scope: str, *rest: Any) -> Any:
            if scope == "c:people:slow":
                await asyncio.Event().wait()
            return await inner(scope, *rest)

        monkeypatch.setattr("flotilla.realtime.client.commands.connect.authenticate", known)
        monkeypatch.setattr(node.presence, "add", add)
        peer = Peer(node)
        assert await peer.ask(connect={}) == AWAY
        assert not peer.client.subscriptions
        assert not any(channel.subscriptions for channel in node.hub.channels.values())
        await until(partial(_are_in, node, "c:people:fast", set()))
