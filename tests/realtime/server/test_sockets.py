"""Sockets: order, partial writes, the bound on what a client leaves unread, the close after what was sent."""

import asyncio
import inspect
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from autobahn.websocket.protocol import WebSocketProtocol as AutobahnProtocol
from daphne.ws_protocol import WebSocketProtocol as DaphneProtocol
from twisted.internet import abstract, main, tcp

from realtime.protocol.frames import Frame
from realtime.server.sockets import AsgiSocket, DaphneSocket, attach, has_open_buffers, open_socket
from tests.store.redis_process import until

BOUND = 50_000


class Reactor:
    """What a transport asks of the reactor: to be told when it can write."""

    def __init__(self) -> None:
        self.writers: set[Any] = set()

    def addReader(self, _: Any) -> None: ...

    def removeReader(self, _: Any) -> None: ...

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)


class Connection:
    """A real Twisted transport over a socket pair, under a protocol that knows its state."""

    STATE_OPEN = AutobahnProtocol.STATE_OPEN

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        for one in (ours, self.theirs):
            one.setblocking(False)
        self.reactor = Reactor()
        self.state = self.STATE_OPEN
        self.transport: Any = tcp.Connection(ours, self, self.reactor)
        self.transport.connected = 1
        self.closed: list[tuple[int, str]] = []

    def sendClose(self, code: int, reason: str) -> None:
        self.state = AutobahnProtocol.STATE_CLOSING
        self.closed.append((code, reason))
        self.transport.write(b"CLOSE")

    def read(self) -> bytes:
        """What has arrived so far."""
        found = b""
        while True:
            try:
                data = self.theirs.recv(1 << 20)
            except BlockingIOError:
                return found
            if not data:
                return found
            found += data

    def drain(self) -> bytes:
        """Everything, the reactor writing on as the client reads."""
        found = self.read()
        while self.reactor.writers:
            self.transport.doWrite()
            found += self.read()
        return found


@pytest.fixture
def connection() -> Iterator[Connection]:
    made = Connection()
    yield made
    made.transport.socket.close()
    made.theirs.close()


def frame(number: int, size: int = 10) -> Frame:
    return Frame(b"%d:" % number + b"x" * size)


class TestTwisted:
    def test_the_internals_we_rely_on_are_there(self) -> None:
        """Names and meaning: a change of Twisted must be noticed here, not in production."""
        descriptor = abstract.FileDescriptor(reactor=Reactor())  # type: ignore[arg-type]
        assert (descriptor.dataBuffer, descriptor.offset) == (b"", 0)
        assert (descriptor._tempDataBuffer, descriptor._tempDataLen) == ([], 0)
        assert list(inspect.signature(tcp.Connection.writeSomeData).parameters) == ["self", "data"]
        for name in ("dataBuffer", "offset", "_tempDataBuffer", "_tempDataLen"):
            assert name in inspect.getsource(abstract.FileDescriptor.doWrite)

    def test_the_protocol_has_what_we_use(self) -> None:
        """Daphne's and Autobahn's side."""
        assert issubclass(DaphneProtocol, AutobahnProtocol)
        assert isinstance(AutobahnProtocol.STATE_OPEN, int)
        assert list(inspect.signature(AutobahnProtocol.sendClose).parameters) == ["self", "code", "reason"]

    def test_plain_transports_are_seen_through_and_others_are_not(self, connection: Connection) -> None:
        """TLS transports have no such buffers."""
        assert has_open_buffers(connection.transport)
        assert not has_open_buffers(TlsTransport())


class TlsTransport:
    """A transport that only takes `write`."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


class TestDaphneSocket:
    def test_a_frame_is_written_at_once(self, connection: Connection) -> None:
        """Without the reactor's help, byte for byte."""
        DaphneSocket(connection, BOUND).send(frame(1))
        assert connection.read() == frame(1).wire
        assert not connection.reactor.writers

    @pytest.mark.parametrize("size", [10, 3000, 30_000, 200_000])
    def test_partial_writes_go_on_in_order(self, connection: Connection, size: int) -> None:
        """The kernel takes a part; the rest and all that follows come behind it, unchanged."""
        writing = DaphneSocket(connection, 10**9)
        frames = [frame(number, size) for number in range(40)]
        found = b""
        for number, one in enumerate(frames):
            writing.send(one)
            if number % 7 == 3 and connection.reactor.writers:
                connection.transport.doWrite()
            if number % 5 == 2:
                found += connection.read()
        assert found + connection.drain() == b"".join(one.wire for one in frames)
        assert writing.unsent == 0
        writing.send(frame(99))
        assert connection.read() == frame(99).wire

    def test_what_is_unsent_is_counted(self, connection: Connection) -> None:
        """What the client has not got and the kernel has not taken."""
        writing = DaphneSocket(connection, 10**9)
        total = 0
        for number in range(30):
            writing.send(frame(number, 1000))
            total += len(frame(number, 1000).wire)
        unsent = writing.unsent
        assert unsent > 0
        assert len(connection.read()) == total - unsent
        connection.transport.doWrite()
        assert writing.unsent < unsent
        connection.drain()
        assert writing.unsent == 0

    def test_a_slow_client_is_told_of_once_and_bounded(self, connection: Connection) -> None:
        """When more than the bound is unsent, not earlier."""
        writing = DaphneSocket(connection, BOUND)
        slow: list[int] = []
        writing.on_slow = lambda: slow.append(writing.unsent)
        while not slow:
            assert writing.unsent <= BOUND
            writing.send(frame(1, 1000))
        for _ in range(10):
            writing.send(frame(1, 1000))
        (unsent,) = slow
        assert BOUND < unsent <= BOUND + 1100

    def test_a_client_that_reads_is_never_slow(self, connection: Connection) -> None:
        """However much it gets."""
        writing = DaphneSocket(connection, BOUND)
        slow: list[int] = []
        writing.on_slow = lambda: slow.append(1)
        for number in range(500):
            writing.send(frame(number, 1000))
            if number % 10 == 0:
                connection.drain()
        assert not slow

    def test_a_close_comes_after_what_was_sent(self, connection: Connection) -> None:
        """Also behind what waits; nothing is sent after it, and slowness no longer counts."""
        writing = DaphneSocket(connection, BOUND)
        writing.on_slow = lambda: pytest.fail("slow after the close")
        sent = b""
        for number in range(20):
            writing.send(frame(number, 1000))
            sent += frame(number, 1000).wire
        writing.close(3001, "shutdown")
        for number in range(100):
            writing.send(frame(number, 1000))
        writing.close(3503, "again")
        assert connection.drain() == sent + b"CLOSE"
        assert connection.closed == [(3001, "shutdown")]

    def test_a_lost_connection_is_no_error(self, connection: Connection) -> None:
        """The reactor hears of it in the ordinary way."""
        connection.theirs.close()
        writing = DaphneSocket(connection, BOUND)
        for number in range(5):
            writing.send(frame(number))
        assert connection.reactor.writers
        assert connection.transport.doWrite() is main.CONNECTION_LOST

    def test_a_transport_without_buffers_is_written_to_plainly(self, connection: Connection) -> None:
        """Frames whole and in order."""
        connection.transport.socket.close()
        connection.transport = TlsTransport()
        connection.transport.socket = socket.socket()
        writing = DaphneSocket(connection, BOUND)
        for number in range(3):
            writing.send(frame(number))
        assert connection.transport.written == [frame(number).wire for number in range(3)]
        assert writing.unsent == 0
        writing.close(3000, "bye")
        writing.send(frame(9))
        assert connection.transport.written[3:] == [b"CLOSE"]


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
        await until(lambda: writing._task is None)
        assert server.texts == [frame(number).text for number in range(50)]
        assert writing.unsent == 0
        writing.send(frame(50))
        await until(lambda: len(server.texts) == 51)

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
        await until(lambda: not writing.unsent)

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
        await until(lambda: writing._task is None)
        assert server.texts == [frame(number).text for number in range(5)]
        assert server.events[-1] == {"type": "websocket.close", "code": 3001, "reason": "shutdown"}
        writing.send(frame(9))
        writing.close(3001, "again")
        await until(lambda: writing._task is None)
        assert len(server.events) == 6

    async def test_a_client_that_went_away_is_no_error(self) -> None:
        """Nothing is kept for it."""
        server = Server()
        server.error = RuntimeError("gone")
        writing = AsgiSocket(server.send, BOUND)
        for number in range(5):
            writing.send(frame(number))
        await until(lambda: writing._task is None)
        assert (writing.unsent, len(writing._queue)) == (0, 0)


def test_the_best_socket_is_taken(connection: Connection) -> None:
    """Daphne's connection when the server offers it, ASGI otherwise."""

    async def send(_: dict[str, Any]) -> None: ...

    scope: dict[str, Any] = {"type": "websocket"}
    assert isinstance(open_socket(scope, send, BOUND), AsgiSocket)
    attach(connection, scope)
    assert isinstance(open_socket(scope, send, BOUND), DaphneSocket)
