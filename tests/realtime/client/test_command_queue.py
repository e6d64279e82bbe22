"""A client's commands: their order, what fails, how many may wait."""

import asyncio
from typing import Any

import pytest

from flotilla.presence import Fenced
from flotilla.realtime.client import command_time
from flotilla.realtime.client.states import State
from flotilla.realtime.engine.publisher import Publisher
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.codes import CommandError, DisconnectError
from flotilla.store import StoreUnavailable
from flotilla.store.waiting import Waiting
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


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

        async def expired(*_: Any, **__: Any) -> None:
            raise CommandError(109)

        monkeypatch.setattr("flotilla.realtime.client.commands.connect.authenticate", expired)
        peer = Peer(node)
        peer.client.receive('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"open:a"}}')
        assert await peer.reply(1) == {"error": {"code": 109, "message": "token expired"}}
        peer.client.receive('{"id":3,"subscribe":{"channel":"open:a"}}')
        await until(lambda: peer.client.commands._worker is None)
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
        peer = Peer(node)
        await peer.connect()

        async def stuck(*_: Any) -> None:
            await asyncio.Event().wait()

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(command_time, "COMMAND_WITHIN", 0.1)
            meanwhile.setattr(node, "handlers", {**node.handlers, "history": stuck})
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

        async def bad(*_: Any, **__: Any) -> None:
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
        sent: list[Waiting] = []
        monkeypatch.setattr(Publisher, "send", lambda publisher, body, waiting: sent.append(waiting))
        peer = Peer(node)
        await peer.connect()
        for _ in range(most):
            peer.say(publish={"channel": "open:a", "data": 1})
        assert len(sent) == peer.client.commands.unanswered == most
        sent[0].set_result([b"epoch", 1, 0, 1])
        await until(lambda: peer.client.commands.unanswered == most - 1, what="one was answered")
        peer.say(publish={"channel": "open:a", "data": 1})
        assert len(sent) == most + 1
        peer.say(publish={"channel": "open:a", "data": 1})
        assert (await peer.end())[0] == 3013
        assert len(sent) == most + 1

    async def test_publishes_in_flight_keep_the_order_of_replies(self, node: Node) -> None:
        """They are not waited for one by one, and every one is answered."""
        peer = Peer(node)
        await peer.connect()
        ids = [peer.say(publish={"channel": "open:a", "data": number}) for number in range(15)]
        await peer.reply(ids[-1])
        assert [line["id"] for line in peer.socket.lines] == [1, *ids]


BOTH = '{"id":101,"connect":{}}\n{"id":102,"subscribe":{"channel":"open:a"}}'


class TestSubscribeBehindConnect:
    """It is begun while the connect waits for Redis, and answered behind it."""

    async def live(self, node: Node, channel: str = "open:a") -> Peer:
        """Somebody is in the channel, so that nothing of it has to be confirmed."""
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe(channel)
        return peer

    async def gone(self, node: Node, peer: Peer, *scopes: str) -> None:
        """Redis has nothing of the connection any more: what was given up on its way there is put right."""
        await until(lambda: not node.presence.busy)
        for scope in scopes:
            assert peer.client.id not in await node.presence.members(scope)

    async def test_both_are_answered_together(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """Redis is asked for both in one round trip, and both replies leave in one turn of the loop."""
        await self.live(node)
        peer, turns, turn = Peer(node), list[int](), [0]
        send = peer.socket.send_soon
        monkeypatch.setattr(peer.socket, "send_soon", lambda frame: (turns.append(turn[0]), send(frame)))
        peer.client.receive(BOTH)
        while not turns:
            turn[0] += 1
            await asyncio.sleep(0)
        assert "subscribe" in await peer.reply(102)
        assert len(set(turns)) == 1
        assert [line["id"] for line in peer.socket.lines] == [101, 102]
        await until(lambda: not peer.client.busy)
        assert "publish" in await peer.ask(publish={"channel": "open:a", "data": 1})

    async def test_it_waits_for_a_connect_that_redis_answers_later(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As where they are on different ones; and so does what comes behind both."""
        await self.live(node)
        gate, add, entered = asyncio.Event(), node.presence.add, list[str]()

        async def slow(scope: str, *rest: Any) -> bool:
            first = await add(scope, *rest)
            if scope == "u:":
                await gate.wait()
            entered.append(scope)
            return first

        monkeypatch.setattr(node.presence, "add", slow)
        peer = Peer(node)
        peer.client.receive(BOTH + '\n{"id":103,"presence_stats":{"channel":"open:a"}}')
        await until(lambda: entered == ["c:open:a"])
        assert peer.socket.lines == []
        gate.set()
        assert (await peer.reply(103))["presence_stats"]["num_clients"] == 2
        assert [line["id"] for line in peer.socket.lines] == [101, 102, 103]

    async def test_nothing_is_left_of_it_when_the_connect_fails(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither a subscription nor an entry, and it is not answered."""
        await self.live(node)
        add = node.presence.add

        async def away(scope: str, *rest: Any) -> bool:
            first = await add(scope, *rest)
            if scope == "u:":
                raise StoreUnavailable("as it was asked to")
            return first

        monkeypatch.setattr(node.presence, "add", away)
        peer = Peer(node)
        peer.client.receive(BOTH)
        assert (await peer.reply(101))["error"]["code"] == 100
        await until(lambda: not peer.client.busy)
        assert len(peer.socket.lines) == 1 and not peer.client.subscriptions
        await self.gone(node, peer, "c:open:a")
        assert len(node.hub.channels["open:a"].subscriptions) == 1

    async def test_its_error_comes_behind_the_connect(self, node: Node) -> None:
        """And the connection goes on."""
        peer = Peer(node)
        peer.client.receive(BOTH.replace("open:a", "closed:a"))
        assert (await peer.reply(102))["error"]["code"] == 103
        assert [line["id"] for line in peer.socket.lines] == [101, 102]
        assert "subscribe" in await peer.ask(subscribe={"channel": "open:a"})

    async def test_a_client_that_goes_meanwhile_leaves_nothing(self, node: Node) -> None:
        """Whatever was under way."""
        await self.live(node)
        for _ in range(5):
            peer = Peer(node)
            peer.client.receive(BOTH)
            peer.client.closed(1006)
            await until(lambda one=peer: not one.client.busy)  # type: ignore[misc]
            await self.gone(node, peer, "c:open:a")
        assert len(node.hub.channels["open:a"].subscriptions) == 1
