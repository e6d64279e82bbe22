"""The socket of a session under other ASGI servers: order, the bound on what waits, the close after what was sent."""

import asyncio
import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from daphne.server import Server as DaphneServer
from daphne.ws_protocol import WebSocketProtocol as DaphneProtocol

from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.server.connection import EXTENSION, Connection
from flotilla.realtime.server.sockets import AsgiSocket, open_socket, transport_behind
from tests.realtime.server.wires import Server as TinyServer
from tests.realtime.server.wires import Wire, request
from tests.waiting import until

BOUND = 50_000


def frame(number: int, size: int = 10) -> Frame:
    return Frame(b"%d:" % number + b"x" * size)


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.end()


class Server:
    """An ASGI server's `send` that can be held up or fail."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def send(self, event: dict[str, Any]) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        await asyncio.sleep(0)
        self.events.append(event)

    @property
    def texts(self) -> list[str]:
        return [event["text"] for event in self.events if event["type"] == "websocket.send"]


@pytest.mark.asyncio
class TestAsgiSocket:
    async def test_order_is_kept(self) -> None:
        """Whatever is sent while something is being sent, and the task ends when nothing waits."""
        server = Server()
        writing = AsgiSocket(server.send, BOUND)
        for number in range(50):
            writing.send(frame(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await until(lambda: writing._task is None, "it is so")
        assert server.texts == [frame(number).text for number in range(50)]
        assert writing.unsent == 0
        writing.send(frame(50))
        await until(lambda: len(server.texts) == 51, "it is so")

    async def test_a_slow_client_is_told_of_once(self) -> None:
        """When more than the bound is unsent."""
        server = Server()
        server.open.clear()
        writing = AsgiSocket(server.send, BOUND)
        slow: list[int] = []
        writing.on_slow = lambda: slow.append(writing.unsent)
        for number in range(100):
            writing.send(frame(number, 1000))
        (unsent,) = slow
        assert BOUND < unsent <= BOUND + 1100
        server.open.set()
        await until(lambda: not writing.unsent, "it is so")

    async def test_a_close_comes_after_what_was_sent(self) -> None:
        """With its reason; nothing follows it."""
        server = Server()
        server.open.clear()
        writing = AsgiSocket(server.send, BOUND)
        writing.on_slow = lambda: pytest.fail("slow after the close")
        for number in range(5):
            writing.send(frame(number))
        writing.close(3001, "shutdown")
        for number in range(100):
            writing.send(frame(number, 1000))
        server.open.set()
        await until(lambda: writing._task is None, "it is so")
        assert server.texts == [frame(number).text for number in range(5)]
        assert server.events[-1] == {"type": "websocket.close", "code": 3001, "reason": "shutdown"}
        writing.send(frame(9))
        writing.close(3001, "again")
        await until(lambda: writing._task is None, "it is so")
        assert len(server.events) == 6

    async def test_a_client_that_went_away_is_no_error(self) -> None:
        """Nothing is kept for it."""
        server = Server()
        server.error = RuntimeError("gone")
        writing = AsgiSocket(server.send, BOUND)
        for number in range(5):
            writing.send(frame(number))
        await until(lambda: writing._task is None, "it is so")
        assert (writing.unsent, len(writing._queue)) == (0, 0)

    async def test_a_slow_client_of_a_stock_daphne_is_told_of(self, wire: Wire) -> None:
        """There `send` never waits: what the client leaves unread is in the transport behind it."""
        protocol = Protocol(wire.transport)
        writing = AsgiSocket(partial(handle_reply, protocol), BOUND)
        slow: list[int] = []
        writing.on_slow = lambda: slow.append(writing.unsent)
        for number in range(200):
            writing.send(frame(number, 1000))
            await asyncio.sleep(0)
        await until(lambda: writing._task is None, "all was given to the transport")
        (unsent,) = slow
        assert BOUND < unsent <= BOUND + 2200
        wire.drain()
        assert writing.unsent == 0

    async def test_one_that_reads_is_not(self, wire: Wire) -> None:
        writing = AsgiSocket(partial(handle_reply, Protocol(wire.transport)), BOUND)
        writing.on_slow = lambda: pytest.fail("slow")
        for number in range(200):
            writing.send(frame(number, 1000))
            await until(lambda: writing._task is None, "it was given to the transport")
            wire.drain()


class Protocol:
    """As much of Daphne's protocol as counts here: it has a transport and writes to it."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport


async def handle_reply(protocol: Protocol, message: dict[str, Any]) -> None:
    """Daphne's own has these arguments."""
    protocol.transport.write(message["text"].encode())


def test_daphne_s_send_is_as_we_know_it() -> None:
    """A partial whose first argument is the protocol; a change must be noticed here and not in production."""
    assert "partial(self.handle_reply, protocol)" in inspect.getsource(DaphneServer.create_application)
    assert list(inspect.signature(DaphneServer.handle_reply).parameters) == ["self", "protocol", "message"]
    assert hasattr(DaphneProtocol, "makeConnection"), "Twisted's, which sets the transport"


def test_servers_that_we_do_not_know_have_no_transport() -> None:
    async def send(_: dict[str, Any]) -> None: ...

    assert transport_behind(send) is None


async def test_the_best_socket_is_taken(wire: Wire) -> None:
    """The connection itself when the server is ours, ASGI otherwise."""

    async def send(_: dict[str, Any]) -> None: ...

    assert isinstance(open_socket({"type": "websocket"}, send, BOUND), AsgiSocket)
    assert isinstance(open_socket({"extensions": {EXTENSION: "something else"}}, send, BOUND), AsgiSocket)
    scopes: list[dict[str, Any]] = []

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scopes.append(scope)

    connection = Connection(TinyServer(application), wire.transport, request(), {})
    wire.transport.protocol = connection
    await until(lambda: scopes, "the application runs")
    assert open_socket(scopes[0], send, BOUND) is connection
    assert connection.max_unsent == BOUND
