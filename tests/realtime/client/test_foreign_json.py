"""JSON that is valid and yet unusual, over a connection: what one command says ends nothing but itself."""

from typing import Any

import msgspec
import pytest

from flotilla.realtime import rpc
from flotilla.realtime.access.tokens import make_connection_token
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.frames import Frame
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio

HALF = '"x\\ud83d"'  # as JavaScript writes an emoji that was cut
BAD_REQUEST = {"error": {"code": 107, "message": "bad request"}}


class Reader(Peer):
    """A client that keeps the bytes it was sent."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.raw = b""
        inner = self.socket.send

        def send(frame: Frame) -> None:
            self.raw += frame.payload + b"\n"
            inner(frame)

        self.socket.send = send  # type: ignore[method-assign]

    async def tell(self, request: str) -> dict[str, Any]:
        """Ask with a request as it is written."""
        id = next(self._ids)
        self.client.receive(f'{{"id":{id},{request}}}')
        return await self.reply(id)


async def reader(node: Node) -> Reader:
    made = Reader(node)
    await made.connect()
    return made


class TestHalfAnEmoji:
    async def test_a_publication_arrives_byte_for_byte(self, node: Node) -> None:
        """Live, in history, and when it is recovered."""
        one, other = await reader(node), await reader(node)
        for peer in (one, other):
            place = await peer.subscribe("open:a")
        data = '{ "t":"x\\ud83d", "\\uDE00":"\\\\ud83d \\ud83d\\ude00"}'
        assert await one.tell('"publish":{"channel":"open:a","data":%s}'.replace("%s", data)) == {"publish": {}}
        await until(lambda: all(peer.data("open:a") for peer in (one, other)))
        assert data.encode() in other.raw
        late = await reader(node)
        assert "history" in await late.tell('"history":{"channel":"open:a","limit":-1}')
        assert late.raw.count(data.encode()) == 1
        result = await late.subscribe("open:a", recover=True, epoch=place["epoch"], offset=0)
        assert result["recovered"] is True
        assert late.raw.count(data.encode()) == 2

    async def test_others_of_the_message_are_not_touched(self, node: Node) -> None:
        """Each command has its own answer."""
        peer = await reader(node)
        await peer.subscribe("open:a")
        lines = [
            '{"id":11,"publish":{"channel":"open:a","data":1}}',
            '{"id":12,"publish":{"channel":"open:\\ud83d","data":2}}',
            '{"id":13,"publish":{"channel":"open:a","data":%s}}'.replace("%s", HALF),
            '{"id":14,"publish":{"channel":"open:a","data":4}}',
        ]
        peer.client.receive("\n".join(lines))
        assert [await peer.reply(id) for id in range(11, 15)] == [{"publish": {}}, BAD_REQUEST] + [{"publish": {}}] * 2
        await until(lambda: len(peer.data("open:a")) == 3)
        assert peer.data("open:a") == [1, "x\ud83d", 4]

    @pytest.mark.parametrize(
        "request_",
        [
            '"subscribe":{"channel":%s}',
            '"subscribe":{"channel":"open:a","token":%s}',
            '"subscribe":{"channel":"open:a","recover":true,"epoch":%s}',
            '"unsubscribe":{"channel":%s}',
            '"publish":{"channel":%s,"data":1}',
            '"presence":{"channel":%s}',
            '"presence_stats":{"channel":%s}',
            '"history":{"channel":%s}',
            '"history":{"channel":"open:a","since":{"epoch":%s}}',
            '"rpc":{"method":%s}',
            '"refresh":{"token":%s}',
            '"sub_refresh":{"channel":%s,"token":"x"}',
        ],
    )
    async def test_a_name_is_a_bad_request(self, node: Node, request_: str) -> None:
        """107, and the connection goes on."""
        peer = await reader(node)
        assert await peer.tell(request_ % HALF) == BAD_REQUEST
        assert await peer.tell('"presence":{"channel":"open:a"}') == {"presence": {"presence": {}}}

    async def test_a_connect_command_is_answered(self, node: Node) -> None:
        """107; its `data` may be anything."""
        peer = Reader(node)
        assert await peer.tell('"connect":{"name":%s}'.replace("%s", HALF)) == BAD_REQUEST
        peer = Reader(node)
        assert "connect" in await peer.tell('"connect":{"data":%s,"name":"js"}'.replace("%s", HALF))

    async def test_what_methods_are_given_they_can_hold(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """107 instead of a text that no database takes; what a method answers arrives."""

        async def half(user: Any, data: Any) -> Any:
            return {"a\udc00": ["\ud83d", data]}

        monkeypatch.setitem(rpc.methods, "half", half)
        peer = await reader(node)
        assert await peer.tell('"rpc":{"method":"half","data":%s}'.replace("%s", HALF)) == BAD_REQUEST
        assert await peer.tell('"rpc":{"method":"half","data":1}') == {"rpc": {"data": {"a\udc00": ["\ud83d", 1]}}}

    async def test_a_message_is_dropped_and_ends_nothing(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """`send` has no answer."""
        heard: list[Any] = []

        async def hear(user: Any, data: Any) -> None:
            heard.append(data)

        monkeypatch.setattr(rpc, "message_handlers", [hear])
        peer = await reader(node)
        peer.client.receive('{"send":{"data":%s}}\n{"send":{"data":2}}'.replace("%s", HALF))
        await until(lambda: heard)
        assert heard == [2]
        assert peer.socket.closed is None

    async def test_info_of_a_token_is_shown_to_others(self, node: Node) -> None:
        """In publications and presence, as it was signed."""
        peer = Reader(node)
        await peer.connect(token=make_connection_token("42", info={"n": "\ud83d"}))
        await peer.subscribe("open:a")
        await peer.ask(publish={"channel": "open:a", "data": 1})
        await until(lambda: peer.data("open:a"))
        assert b'"conn_info":{"n":"\\ud83d"}' in peer.raw
        assert (await peer.ask(presence={"channel": "open:a"}))["presence"]["presence"][peer.client.id][
            "conn_info"
        ] == {"n": "\ud83d"}


class TestNesting:
    @pytest.mark.parametrize("levels", [257, 900, 5000])
    async def test_what_others_could_not_read_is_a_bad_request(self, node: Node, levels: int) -> None:
        """However deep, and however long a number: 107, and the connection goes on."""
        peer = await reader(node)
        deep = "[" * levels + "]" * levels
        assert await peer.tell(f'"publish":{{"channel":"open:a","data":{deep}}}') == BAD_REQUEST
        assert await peer.tell(f'"publish":{{"channel":"open:a","data":{"7" * 4301}}}') == BAD_REQUEST
        lines = len(peer.socket.lines)
        peer.client.receive(f'{{"send":{{"data":{"[" * 5000 + "]" * 5000}}}}}')
        assert await peer.tell('"publish":{"channel":"open:a","data":1}') == {"publish": {}}
        assert len(peer.socket.lines) == lines + 1


class TestNulls:
    async def test_a_null_is_published_and_all_other_nulls_are_absent(self, node: Node) -> None:
        peer = Reader(node)
        connect = '"connect":{"token":null,"subs":null,"data":null,"name":null,"version":null,"headers":null}'
        assert "connect" in await peer.tell(connect)
        subscribe = (
            '"subscribe":{"channel":"open:a","token":null,"data":null,"recover":null,"epoch":null,"offset":null,'
        )
        subscribe += '"flag":null,"positioned":null,"recoverable":null,"join_leave":null,"tf":null,"type":null}'
        assert "subscribe" in await peer.tell(subscribe)
        assert await peer.tell('"publish":{"channel":"open:a","data":null}') == {"publish": {}}
        await until(lambda: peer.pushes("pub", "open:a"))
        assert peer.pushes("pub", "open:a")[0]["data"] is None
        found = await peer.tell('"history":{"channel":"open:a","limit":-1,"since":null,"reverse":null}')
        assert len(found["history"]["publications"]) == 1
        peer.client.receive('{"id":null}\n{}')
        assert peer.socket.closed is None
        peer.client.receive('{"id":9,"publish":null}')
        assert (await peer.end())[0] == 3501

    async def test_a_channel_that_is_null_is_missing(self, node: Node) -> None:
        """3501, as without it."""
        peer = await reader(node)
        peer.client.receive('{"id":9,"publish":{"channel":null,"data":1}}')
        assert (await peer.end())[0] == 3501


class TestNumbers:
    async def test_positions_beyond_every_stream_recover_nothing(self, node: Node) -> None:
        """The protocol's offsets have 64 bits; none ends the connection."""
        peer = await reader(node)
        place = await peer.subscribe("open:a")
        for offset in (2**63 - 1, 2**63, 2**64 - 1):
            await peer.ask(unsubscribe={"channel": "open:a"})
            result = await peer.subscribe("open:a", recover=True, epoch=place["epoch"], offset=offset)
            assert "recovered" not in result
            assert result["epoch"] == place["epoch"]
            found = await peer.ask(history={"channel": "open:a", "limit": 1, "since": {"offset": offset}})
            assert found["history"]["publications"] == []

    @pytest.mark.parametrize("limit", [-(2**70), -2, -1, 0, 1, 2**31, 2**63, 2**70])
    async def test_any_limit_is_a_limit(self, node: Node, limit: int) -> None:
        peer = await reader(node)
        await peer.ask(publish={"channel": "open:a", "data": 1})
        found = await peer.ask(history={"channel": "open:a", "limit": limit})
        assert len(found["history"]["publications"]) == (1 if limit else 0)


class TestTooLarge:
    async def test_what_could_never_be_sent_is_refused_where_it_would_be_kept(self, node: Node) -> None:
        """107 with a message; without history it is each reader's own speed."""
        node.config = msgspec.structs.replace(node.config, max_outgoing_bytes=5000)
        peer = await reader(node)
        most = 5000 - 1024 - len('{"data":""}')
        for channel, size, fits in (("wish:a", most + 1, False), ("plain:a", most + 1, True), ("wish:a", 3000, True)):
            reply = await peer.ask(publish={"channel": channel, "data": "x" * size})
            assert ("publish" in reply) is fits, (channel, size)
        reply = await peer.ask(publish={"channel": "wish:a", "data": "x" * most})
        assert reply["error"]["code"] == 107
        assert "too large" in reply["error"]["message"]
