"""A WebSocket whose application knows only ASGI: both directions are bounded, and what ASGI forbids is refused."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from flotilla.realtime.server.asgi import MAX_AT_ONCE, MAX_EVENTS, MAX_HELD
from flotilla.realtime.server.budget import UNBOUNDED, Bounds
from flotilla.realtime.server.connection import Connection
from flotilla.realtime.server.traffic import traffic
from tests.raw_frames import CLOSE, PING, PONG, TEXT, frame
from tests.realtime.server.wires import Receiver, Server, Wire, parse, request
from tests.waiting import until

pytestmark = pytest.mark.asyncio

Event = dict[str, Any]


class Peer:
    """A client and the application that serves it, whose steps the test takes."""

    def __init__(self, wire: Wire, max_message_bytes: int = 65536) -> None:
        self.wire = wire
        self.ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.receive: Callable[[], Awaitable[Event]]
        self.send: Callable[[Event], Awaitable[None]]
        self.server = Server(self._application, max_message_bytes)
        self.connection = Connection(self.server, wire.transport, request(), {})
        wire.transport.protocol = self.connection

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        self.receive, self.send = receive, send
        await self.ending

    async def opened(self) -> "Peer":
        """Begin and accept."""
        await until(lambda: hasattr(self, "send"), "the application runs")
        assert await self.receive() == {"type": "websocket.connect"}
        await self.send({"type": "websocket.accept"})
        assert self.wire.read().startswith(b"HTTP/1.1 101 ")
        return self


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    yield made
    made.end()


@pytest_asyncio.fixture
async def fresh(wire: Wire) -> AsyncIterator[Peer]:
    """Not answered yet."""
    peer = Peer(wire)
    await until(lambda: hasattr(peer, "send"), "the application runs")
    yield peer
    if not peer.ending.done():
        peer.ending.set_result(None)


@pytest_asyncio.fixture
async def peer(fresh: Peer) -> Peer:
    return await fresh.opened()


async def test_messages_are_events(peer: Peer) -> None:
    peer.wire.push(frame(TEXT, "é".encode()) + frame(2, b"\0"))
    assert await peer.receive() == {"type": "websocket.receive", "text": "é", "bytes": None}
    assert await peer.receive() == {"type": "websocket.receive", "text": None, "bytes": b"\0"}
    await peer.send({"type": "websocket.send", "text": "é"})
    await peer.send({"type": "websocket.send", "bytes": b"\0", "text": None})
    await peer.send({"type": "websocket.send", "bytes": b""})
    assert parse(peer.wire.read()) == [(TEXT, "é".encode()), (2, b"\0"), (2, b"")]


async def test_bytes_that_another_application_sends_are_counted(peer: Peer) -> None:
    before = traffic.websocket_out
    await peer.send({"type": "websocket.send", "text": "é"})
    await peer.send({"type": "websocket.send", "bytes": b"x" * 1000})
    assert traffic.websocket_out - before == len(peer.wire.read())


async def test_a_disconnect_is_told_once_and_last(peer: Peer) -> None:
    peer.wire.push(frame(TEXT, b"last") + frame(CLOSE, b"\x03\xe9"))
    peer.wire.drain()
    assert (await peer.receive())["text"] == "last"
    assert await peer.receive() == {"type": "websocket.disconnect", "code": 1001}
    await peer.send({"type": "websocket.send", "text": "into the void"})
    await peer.send({"type": "websocket.close"})
    waiting = asyncio.ensure_future(peer.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_nothing_is_read_while_the_application_does_not_receive(peer: Peer) -> None:
    for number in range(MAX_EVENTS):
        assert peer.wire.is_reading
        peer.wire.push(frame(TEXT, b"%d" % number))
    assert not peer.wire.is_reading
    peer.wire.push(frame(TEXT, b"64") * 10)  # one reading may bring more
    for _ in range(11):
        assert not peer.wire.is_reading
        await peer.receive()
    assert peer.wire.is_reading


async def test_sending_waits_for_a_client_that_does_not_read(peer: Peer) -> None:
    size = 100_000
    sending = asyncio.ensure_future(peer.send({"type": "websocket.send", "bytes": b"x" * size}))
    await asyncio.sleep(0)
    assert not sending.done()
    assert len(peer.wire.drain()) == size + 10
    await asyncio.wait_for(sending, 10)
    await asyncio.wait_for(peer.send({"type": "websocket.send", "bytes": b"y"}), 10)


async def test_sending_waits_no_more_when_the_client_is_gone(peer: Peer) -> None:
    sending = asyncio.ensure_future(peer.send({"type": "websocket.send", "bytes": b"x" * 100_000}))
    await asyncio.sleep(0)
    assert not sending.done()
    peer.wire.hang_up()
    await asyncio.wait_for(sending, 10)
    assert not peer.server.open


async def test_sending_waits_no_more_when_the_client_says_good_bye(peer: Peer) -> None:
    sending = asyncio.ensure_future(peer.send({"type": "websocket.send", "bytes": b"x" * 100_000}))
    await asyncio.sleep(0)
    peer.wire.push(frame(CLOSE, b"\x03\xe8"))
    await asyncio.wait_for(sending, 10)
    assert parse(peer.wire.drain())[-1] == (CLOSE, b"\x03\xe8")
    assert not peer.server.open


async def test_a_close_has_its_code_and_reason(peer: Peer) -> None:
    await peer.send({"type": "websocket.close", "code": 4001, "reason": "enough"})
    assert parse(peer.wire.read()) == [(CLOSE, b"\x0f\xa1enough")]
    peer.wire.push(frame(CLOSE, b"\x0f\xa1"))
    assert await peer.receive() == {"type": "websocket.disconnect", "code": 4001}


async def test_a_close_without_a_code_is_a_normal_one(peer: Peer) -> None:
    await peer.send({"type": "websocket.close"})
    assert parse(peer.wire.read()) == [(CLOSE, b"\x03\xe8")]


@pytest.mark.parametrize("code", [1, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70000, -1])
async def test_codes_that_cannot_be_sent_are_refused(peer: Peer, code: int) -> None:
    with pytest.raises(ValueError, match="cannot be closed with"):
        await peer.send({"type": "websocket.close", "code": code})
    assert peer.connection.is_open


@pytest.mark.parametrize(
    "event",
    [
        {"type": "websocket.accept"},
        {"type": "websocket.http.response.start", "status": 200, "headers": []},
        {"type": "websocket.http.response.body", "body": b""},
        {"type": "websocket.receive"},
    ],
)
async def test_what_is_out_of_order_is_refused(peer: Peer, event: Event) -> None:
    with pytest.raises(ValueError, match=r"accepted already|unexpected"):
        await peer.send(event)
    assert peer.wire.read() == b""


async def test_nothing_can_be_sent_before_the_answer(fresh: Peer) -> None:
    with pytest.raises(ValueError, match="before the connection is accepted"):
        await fresh.send({"type": "websocket.send", "text": "too early"})
    await fresh.opened()


async def test_a_header_that_cannot_be_sent_leaves_the_choice_of_another_answer(fresh: Peer) -> None:
    with pytest.raises(ValueError, match="one line"):
        await fresh.send({"type": "websocket.accept", "headers": [(b"x", b"a\r\nb: c")]})
    assert fresh.wire.read() == b""
    await fresh.opened()


async def test_a_close_before_the_answer_is_a_403(fresh: Peer) -> None:
    await fresh.send({"type": "websocket.close", "code": 4000})
    await fresh.send({"type": "websocket.accept"})
    assert fresh.wire.drain() == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    assert not fresh.server.open


async def test_a_refusal_may_come_in_parts(fresh: Peer) -> None:
    headers = [(b"x-why", b"full"), (b"content-length", b"5")]
    await fresh.send({"type": "websocket.http.response.start", "status": 429, "headers": headers})
    await fresh.send({"type": "websocket.http.response.body", "body": b"come ", "more_body": True})
    assert fresh.wire.read() == b""
    await fresh.send({"type": "websocket.http.response.body", "body": b"back"})
    response = fresh.wire.drain()
    assert response.startswith(b"HTTP/1.1 429 Too Many Requests\r\nx-why: full\r\ncontent-length: 9\r\n")
    assert response.endswith(b"\r\n\r\ncome back")
    assert not fresh.server.open


async def test_an_application_that_fails_is_1011(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    peer.ending.set_exception(RuntimeError("broken"))
    await until(lambda: not peer.connection.is_open, "it is closed")
    assert parse(peer.wire.read())[0][1][:2] == b"\x03\xf3"
    assert "failed" in caplog.text


async def test_one_that_fails_before_its_answer_is_a_500(fresh: Peer) -> None:
    fresh.ending.set_exception(RuntimeError("broken"))
    await until(lambda: not fresh.connection.is_connecting, "it is refused")
    assert fresh.wire.drain().startswith(b"HTTP/1.1 500 ")


async def test_one_that_returns_is_over(peer: Peer) -> None:
    peer.ending.set_result(None)
    await until(lambda: not peer.connection.is_open, "it is closed")
    assert parse(peer.wire.read())[0][1][:2] == b"\x03\xf3"


async def test_a_slow_application_that_closes_gets_the_answer(peer: Peer) -> None:
    """What it has not received stands in nobody's way."""
    peer.wire.push(frame(TEXT, b"x") * 100)
    assert not peer.wire.is_reading
    await peer.send({"type": "websocket.close", "code": 4000})
    await until(lambda: peer.wire.is_reading, "the rest was thrown away")
    peer.wire.push(frame(CLOSE, b"\x0f\xa0"))
    peer.wire.drain()
    assert not peer.server.open


async def test_a_killed_one_ends(peer: Peer) -> None:
    task = peer.connection.kill()
    assert task is not None
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()
    assert peer.connection.kill() is None


MESSAGE = frame(TEXT, b"x" * 60_000)


async def test_bytes_that_wait_for_the_application_are_bounded(peer: Peer) -> None:
    """However few messages they are in, and all of them arrive."""
    sent = 0
    while peer.wire.is_reading:
        peer.wire.push(MESSAGE)
        sent += 1
        assert sent < MAX_EVENTS, "more was read than may be held"
    assert sent == -(-MAX_HELD // 60_000)
    await peer.receive()
    assert peer.wire.is_reading
    for _ in range(sent - 1):
        assert len((await peer.receive())["text"]) == 60_000


async def test_there_is_no_budget_of_frames(peer: Peer) -> None:
    """How much a client may say is the application's own matter."""
    for number in range(20_000):
        peer.wire.push(frame(TEXT, b"x"))
        assert (await peer.receive())["text"] == "x", number
    assert peer.connection.is_open


FLOODS = {
    "pings": frame(PING),
    "pongs": frame(PONG, b"x" * 125),
    "empty fragments": frame(0, final=False),
    "tiny fragments": frame(0, b"x", final=False),
}


@pytest.mark.parametrize("alone", [True, False], ids=["one by one", "together"])
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_a_flood_of_which_the_application_sees_nothing_ends(peer: Peer, flood: bytes, alone: bool) -> None:
    if flood[0] == 0:
        peer.wire.push(frame(TEXT, final=False))
    for _ in range(100):
        for _ in range(100 if alone else 1):
            peer.wire.push(flood if alone else flood * 100)
        await asyncio.sleep(0)
    assert await peer.receive() == {"type": "websocket.disconnect", "code": 1008}


async def test_large_fragments_are_no_flood(wire: Wire) -> None:
    """A message of 1 MB in pieces of 200 bytes: more of them than there may be unseen frames."""
    peer = await Peer(wire, 2**20).opened()
    peer.wire.push(frame(TEXT, final=False))
    for _ in range(500):
        peer.wire.push(frame(0, b"x" * 200, final=False) * 10)
        await asyncio.sleep(0)
    peer.wire.push(frame(0))
    assert (await peer.receive())["text"] == "x" * 200 * 5000
    peer.ending.set_result(None)


class TestPings:
    @pytest_asyncio.fixture
    async def pinged(self, wire: Wire) -> AsyncIterator[Peer]:
        """By a server that sends a ping every tenth of a second."""
        peer = Peer(wire)
        peer.server.ping_interval = 0.1
        await peer.opened()
        yield peer
        if not peer.ending.done():
            peer.ending.set_result(None)

    async def test_a_client_is_pinged_and_kept_while_it_answers(self, pinged: Peer) -> None:
        receiving = asyncio.ensure_future(pinged.receive())
        for _ in range(5):
            await until(lambda: (PING, b"") in parse(pinged.wire.drain()), "it was pinged")
            pinged.wire.push(frame(PONG))
        assert pinged.connection.is_open
        receiving.cancel()

    async def test_one_that_stays_silent_is_given_up(self, pinged: Peer) -> None:
        pinged.server.ping_timeout = 0.1
        assert await pinged.receive() == {"type": "websocket.disconnect", "code": 1006}

    async def test_there_are_none_once_it_was_adopted(self, pinged: Peer) -> None:
        """Who adopts has pings of its own."""
        receiving = asyncio.ensure_future(pinged.receive())
        await until(lambda: (PING, b"") in parse(pinged.wire.drain()), "it was pinged")
        receiving.cancel()
        pinged.connection.adopt(Receiver(), Bounds(65536, UNBOUNDED))
        await asyncio.sleep(0.35)  # three times the interval
        assert not parse(pinged.wire.drain())
        assert pinged.connection.is_open


async def test_others_have_their_turn_between_many_events(peer: Peer) -> None:
    """An application that always finds one does not keep the loop for itself."""
    peer.wire.push(frame(TEXT, b"x") * (MAX_AT_ONCE + 1))
    await asyncio.sleep(0)
    had_turn: list[int] = []
    asyncio.get_running_loop().call_soon(had_turn.append, 1)
    for _ in range(MAX_AT_ONCE + 1):
        await peer.receive()
    assert had_turn
