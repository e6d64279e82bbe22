"""Real Twisted transports over socket pairs, without a reactor: a test says when it is time to read and to write."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.python.failure import Failure

from flotilla.realtime.server.budget import UNBOUNDED, Bounds
from flotilla.realtime.server.connection import Connection
from flotilla.realtime.server.handshake import Handshake
from flotilla.realtime.server.turn import Turn


class Reactor:
    """What a transport asks of the reactor: to be told when it can read and write, and to be called later."""

    def __init__(self) -> None:
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)

    def callLater(self, seconds: float, call: Callable[..., Any], *arguments: Any) -> Any:
        return asyncio.get_running_loop().call_later(seconds, call, *arguments)


class Address:
    """Of either side."""

    host = "192.0.2.1"
    port = 1234


class Transport(tcp.Connection):
    """A connection of a server."""

    getPeer = getHost = lambda _: Address


class Wire:
    """A transport with a small send buffer, and the other end of it."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        for one in (ours, self.theirs):
            one.setblocking(False)
        self.reactor = Reactor()
        self.transport: Any = Transport(ours, None, self.reactor)
        self.transport.connected = 1
        self.transport.startReading()

    def end(self) -> None:
        """Close both ends."""
        if hasattr(self.transport, "socket"):
            self.transport.socket.close()
        self.theirs.close()

    @property
    def is_reading(self) -> bool:
        """Whether the reactor would tell the transport that something has come."""
        return self.transport in self.reactor.readers

    def push(self, data: bytes) -> None:
        """The client sends something that fits into the kernel's buffers, and it is read; nobody does after the end."""
        if self.transport.connected:
            self.transport.protocol.dataReceived(data)

    def hang_up(self) -> None:
        """The client is gone, and the reactor notices."""
        self.theirs.close()
        self.transport.connectionLost(Failure(self.transport.doRead()))

    def read(self) -> bytes:
        """What has arrived so far at the client."""
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
        """Everything, the reactor writing on as the client reads, and losing the connection when it was closed."""
        found = self.read()
        while self.reactor.writers:
            over = self.transport.doWrite()
            if over is not None:
                self.reactor.writers.clear()
                self.transport.connectionLost(Failure(over))
            found += self.read()
        return found


class Server:
    """As much of a server as a connection needs."""

    root_path = ""
    is_leaving = False
    action_logger = None
    proxy_forwarded_address_header = proxy_forwarded_port_header = proxy_forwarded_proto_header = None

    def __init__(self, application: Any, max_message_bytes: int = 65536) -> None:
        self.application = application
        self.bounds = Bounds(max_message_bytes, UNBOUNDED)
        self.ping_interval, self.ping_timeout = 0.0, 30.0
        self.open: list[Connection] = []
        self.turn = Turn()

    def websocket_opened(self, connection: Connection) -> None:
        self.open.append(connection)

    def websocket_closed(self, connection: Connection) -> None:
        self.open.remove(connection)


class Receiver:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.codes: list[int] = []
        self.more = 0  # that each message is said to hold besides itself
        self.overruns = 0
        self.on_overrun: Callable[[], None] = lambda: None  # leaves it to the connection to close

    def receive(self, message: str | bytes) -> int:
        self.messages.append(message)
        return self.more

    def overrun(self) -> None:
        self.overruns += 1
        self.on_overrun()

    def closed(self, code: int) -> None:
        self.codes.append(code)


def request(rest: bytes = b"") -> Handshake:
    """What was read of a handshake."""
    return Handshake(b"/", b"", [], b"dGhlIHNhbXBsZSBub25jZQ==", [], rest)


def parse(wire: bytes) -> list[tuple[int, bytes]]:
    """A server's frames: opcode and payload."""
    found = []
    while wire:
        size, start = wire[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(wire[2:start], "big")
        found.append((wire[0] & 0x0F, wire[start : start + size]))
        wire = wire[start + size :]
    return found
