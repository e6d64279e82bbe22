"""A connection's life: states, order, deadlines, bounds, the end."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from flotilla.presence import Fenced
from flotilla.realtime.client import client as session_module
from flotilla.realtime.client.states import State
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.codes import CommandError, DisconnectError
from flotilla.store import StoreUnavailable
from tests.realtime.client.peers import Peer
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


def hurry(node: Node, **options: Any) -> None:
    """Change the configuration of a node that runs already."""
    node.config = msgspec.structs.replace(node.config, **options)


class TestOrder:
    async def test_connect_comes_first(self, node: Node) -> None:
        """Anything else before it ends the connection with 3501."""
        for message in ('{"id":1,"publish":{"channel":"open:a","data":1}}', "{}", '{"id":1,"ping":{}}', "nonsense"):
            peer = Peer(node)
            peer.client.receive(message)
            assert await peer.end() == (3501, "bad request")

    async def test_connect_comes_once(self, node: Node) -> None:
        """A second one is an error of the client."""
        peer = Peer(node)
        await peer.connect()
        peer.say(connect={})
        assert (await peer.end())[0] == 3501

    async def test_commands_of_one_message_are_answered_in_order(self, node: Node) -> None:
        """Connect and subscribe may come together."""
        peer = Peer(node)
        peer.client.receive(
            '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"open:a"}}\n'
            '{"id":3,"presence_stats":{"channel":"open:a"}}\n'
        )
        assert (await peer.reply(3))["presence_stats"] == {"num_clients": 1, "num_users": 1}
        assert [line["id"] for line in peer.socket.lines if "id" in line] == [1, 2, 3]

    async def test_a_refused_connect_is_the_only_answer(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """What came with it is not answered; the client goes, or is closed later."""

        async def expired(*_: Any) -> None:
            raise CommandError(109)

        monkeypatch.setattr("flotilla.realtime.client.commands.connect.authenticate", expired)
        peer = Peer(node)
        peer.client.receive('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"open:a"}}')
        assert await peer.reply(1) == {"error": {"code": 109, "message": "token expired"}}
        peer.client.receive('{"id":3,"subscribe":{"channel":"open:a"}}')
        await until(lambda: peer.client._worker is None)
        assert len(peer.socket.lines) == 1
        assert peer.client.state is State.REFUSED
        peer.client.on_time(node.now() + 10)
        assert (await peer.end())[0] == 3502

    async def test_a_command_without_an_id_is_nothing(self, node: Node) -> None:
        """An id is needed for an answer; pongs and unknown requests with one differ."""
        peer = Peer(node)
        await peer.connect()
        peer.client.receive("{}")
        peer.client.receive('{"id":9}')
        assert (await peer.end())[0] == 3501

    async def test_an_illegal_transition_names_what_was_expected(self, node: Node) -> None:
        """States are explicit."""
        peer = Peer(node)
        with pytest.raises(RuntimeError, match="AWAITING_CONNECT can become CLOSED, CONNECTING, not CONNECTED"):
            peer.client.move(State.CONNECTED)


class TestFailures:
    async def test_an_unexpected_failure_ends_with_3004(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged with who it was, and nothing is raised."""
        peer = Peer(node)
        await peer.connect()

        async def broken(*_: Any) -> None:
            raise KeyError("oops")

        monkeypatch.setattr(node, "handlers", {**node.handlers, "history": broken})
        peer.say(history={"channel": "open:a"})
        assert await peer.end() == (3004, "internal server error")
        (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert record.client == peer.client.id  # type: ignore[attr-defined]

    @pytest.mark.parametrize("error", [StoreUnavailable("away"), TimeoutError()])
    async def test_a_redis_that_is_away_is_a_temporary_error(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        """The connection stays."""
        peer = Peer(node)
        await peer.connect()

        async def away(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(node.broker, "history", away)
        answer = await peer.ask(history={"channel": "open:a"})
        assert answer == {"error": {"code": 100, "message": "internal server error", "temporary": True}}
        assert peer.socket.closed is None

    async def test_a_command_has_a_deadline(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """The client gets its error before it gives up by itself."""
        monkeypatch.setattr(session_module, "COMMAND_WITHIN", 0.1)
        peer = Peer(node)
        await peer.connect()

        async def stuck(*_: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(node, "handlers", {**node.handlers, "history": stuck})
        assert (await peer.ask(history={"channel": "open:a"}))["error"]["code"] == 100
        assert "subscribe" in await peer.ask(subscribe={"channel": "open:a"})

    async def test_a_fenced_instance_sends_its_client_away(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """With 3011: another connection will be present."""
        peer = Peer(node)
        await peer.connect()

        async def fenced(*_: Any) -> None:
            raise Fenced

        monkeypatch.setattr(node.presence, "add", fenced)
        peer.say(subscribe={"channel": "open:a"})
        assert (await peer.end())[0] == 3011

    async def test_a_disconnect_keeps_its_reason(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """The detail does not go out."""
        peer = Peer(node)

        async def bad(*_: Any) -> None:
            raise DisconnectError(3500, detail="the secret reason")

        monkeypatch.setattr("flotilla.realtime.client.commands.connect.authenticate", bad)
        peer.say(connect={})
        assert await peer.end() == (3500, "invalid token")


class TestBounds:
    async def test_waiting_commands_are_bounded(self, node: Node) -> None:
        """More than max_queued_commands at once ends with 3013."""
        peer = Peer(node)
        await peer.connect()
        lines = [f'{{"id":{id},"presence":{{"channel":"open:a"}}}}' for id in range(2, 60)]
        peer.client.receive("\n".join(lines))
        assert (await peer.end())[0] == 3013

    async def test_publications_that_redis_has_not_answered_count_as_waiting(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They hold no command up, but a client cannot pile them up while Redis is slow; an answer makes room."""
        most = node.config.max_queued_commands
        sent: list[asyncio.Future[Any]] = []

        def slow(*_: Any) -> "asyncio.Future[Any]":
            sent.append(asyncio.get_running_loop().create_future())
            return sent[-1]

        monkeypatch.setattr(node.broker, "start_publish", slow)
        peer = Peer(node)
        await peer.connect()
        for _ in range(most):
            peer.say(publish={"channel": "open:a", "data": 1})
        assert len(sent) == peer.client.unanswered == most
        sent[0].set_result([b"epoch", 1, 0])
        await until(lambda: peer.client.unanswered == most - 1, what="one was answered")
        peer.say(publish={"channel": "open:a", "data": 1})
        assert len(sent) == most + 1
        peer.say(publish={"channel": "open:a", "data": 1})
        assert (await peer.end())[0] == 3013
        assert len(sent) == most + 1

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

    async def test_publishes_in_flight_keep_the_order_of_replies(self, node: Node) -> None:
        """They are not waited for one by one, and every one is answered."""
        peer = Peer(node)
        await peer.connect()
        ids = [peer.say(publish={"channel": "open:a", "data": number}) for number in range(15)]
        await peer.reply(ids[-1])
        assert [line["id"] for line in peer.socket.lines] == [1, *ids]


class TestDeadlines:
    async def test_a_silent_newcomer_is_stale(self, node: Node) -> None:
        """Who does not connect in time is closed with 3502, by the wheel."""
        hurry(node, connect_timeout=0.1)
        peer = Peer(node)
        assert (await peer.end())[0] == 3502

    async def test_pings_come_and_want_an_answer(self, node: Node) -> None:
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

    async def test_what_pings_are_is_said_in_the_reply(self, node: Node) -> None:
        """Seconds as integers; none where they are off."""
        assert await Peer(node).connect() | {"client": "", "version": ""} == {
            "client": "",
            "version": "",
            "ping": 25,
            "pong": True,
        }
        hurry(node, ping_interval=0.0)
        assert "ping" not in await Peer(node).connect()

    async def test_an_expired_connection_has_its_grace(self, node: Node) -> None:
        """A token's connection may refresh for 25 s more; then 3005."""
        peer = Peer(node)
        await peer.connect()
        peer.client.expire_at = time.time() - 24
        peer.client.on_time(node.now())
        assert peer.socket.closed is None
        peer.client.expire_at = time.time() - 25.1
        peer.client.schedule()
        assert (await peer.end())[0] == 3005

    async def test_an_expired_subscription_ends_alone(self, node: Node) -> None:
        """With push 2501; the connection stays."""
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe("open:a")
        peer.client.subscriptions["open:a"].expire_at = time.time() - 26
        peer.client.schedule()
        await until(lambda: peer.pushes("unsubscribe", "open:a") == [{"code": 2501, "reason": "subscription expired"}])
        assert peer.client.subscriptions == {}
        assert peer.socket.closed is None

    async def test_an_expired_server_side_subscription_ends_the_connection(self, node: Node) -> None:
        """With 3006."""
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe("open:a")
        subscription = peer.client.subscriptions["open:a"]
        subscription.server_side, subscription.expire_at = True, time.time() - 26
        peer.client.schedule()
        assert (await peer.end())[0] == 3006


class TestTheEnd:
    async def test_nothing_is_left(self, node: Node, redis_process: RedisProcess) -> None:
        """Sessions, users, hub, wheel, presence: a closed connection is nowhere."""
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
            await until(lambda p=peer: p.client._worker is None)  # type: ignore[misc]
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
