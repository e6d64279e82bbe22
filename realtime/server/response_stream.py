"""A response without an end on our server: it has taken over its connection, and frames go straight to the socket.

It is a client's socket as a WebSocket's connection is, and written to alike (`flotilla.realtime.server.outgoing`).
What the client still sends is read only to notice its end, and thrown away up to a bound.
"""

import asyncio
from typing import Any, Protocol

from flotilla.realtime.protocol.frames import Wire
from flotilla.realtime.server.outgoing import Outgoing
from flotilla.realtime.server.traffic import traffic
from flotilla.realtime.server.transports import let_go
from flotilla.realtime.server.turn import Turn

EXTENSION = "flotilla.stream"
"""The ASGI extension of our server with which a response takes its connection over
(`flotilla.realtime.server.http.request.Request`)."""

CLOSE_WITHIN = 2.0  # seconds a client has to take what was written before the end
MAX_IGNORED = 64 * 1024  # bytes that a client may send behind its request
LEFT = 1000  # the codes of a WebSocket that ends likewise
LOST = 1006


class Receiver(Protocol):
    """Who the response belongs to."""

    def closed(self, code: int) -> None: ...


class Server(Protocol):
    """What a response needs of its server."""

    turn: Turn

    def websocket_opened(self, connection: Any) -> None: ...

    def websocket_closed(self, connection: Any) -> None: ...


class ResponseStream(Outgoing):
    """Twisted's protocol of the transport, and the socket of who adopted it. `last`: what ends the body."""

    __slots__ = ("_closing", "_ignored", "_last", "_open", "_receiver", "_server")

    def __init__(self, server: Server, transport: Any, last: bytes) -> None:
        super().__init__(transport, server.turn)
        self._server = server
        self._last = last
        self._open = True
        self._ignored = 0
        self._receiver: Receiver | None = None
        self._closing: asyncio.TimerHandle | None = None
        server.websocket_opened(self)

    def adopt(self, receiver: Receiver) -> None:
        """From now on `receiver` is told of the end; of one that has come already, too."""
        self._receiver = receiver
        if self._transport is None:
            self._tell(LOST)

    # Out

    @property
    def is_open(self) -> bool:
        return self._open

    def close(self, code: int, reason: str = "") -> None:
        """End the response behind what was sent. The code is the receiver's matter: HTTP has no place for one."""
        if not self._open:
            return
        self.on_slow = None
        self.send(Wire(self._last))
        self._open = False
        self._soon = b""
        self.descriptor = -1
        self._closing = asyncio.get_running_loop().call_later(CLOSE_WITHIN, self._transport.abortConnection)
        self._transport.loseConnection()

    # Called by Twisted

    def dataReceived(self, data: bytes) -> None:
        traffic.http_in += len(data)
        self._ignored += len(data)
        if self._ignored > MAX_IGNORED and self._transport is not None:
            self._transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self._open = False
        self._soon = b""
        self.descriptor = -1
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        self._server.websocket_closed(self)
        left = reason is not None and reason.check("twisted.internet.error.ConnectionDone") is not None
        self._tell(LEFT if left else LOST)
        let_go(self._transport)
        self._direct = self._transport = None  # they hold the socket

    def _tell(self, code: int) -> None:
        self.on_slow = None
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.closed(code)

    def kill(self) -> None:
        """For the server's end: there is no application's task behind it."""
