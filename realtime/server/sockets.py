"""A connection's socket: where frames are written, how much is unsent, how it is closed with a reason.

Under our Daphne the frame goes straight to the transport (`DaphneSocket`): no ASGI message, no coroutine, no framing
per connection. Under any other ASGI server it goes through `send` (`AsgiSocket`). Both keep the order of calls, never
block or raise, and hold at most `most_unsent` bytes for a client that does not read: then they call `on_slow`, once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from daphne.ws_protocol import WebSocketProtocol as DaphneWebSocketProtocol

from realtime.protocol.codes import DisconnectCode
from realtime.protocol.frames import Frame
from realtime.server import denial

logger = logging.getLogger("realtime.sockets")

EXTENSION = "flotilla.socket"
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Socket(Protocol):
    """What a session writes to."""

    on_slow: Callable[[], None] | None

    @property
    def unsent(self) -> int:
        """Bytes accepted but not yet taken by the network."""

    def send(self, frame: Frame) -> None: ...

    def close(self, code: int, reason: str) -> None:
        """Close after what was sent; nothing can be sent any more."""


class WebSocketProtocol(DaphneWebSocketProtocol):  # type: ignore[misc]
    """Daphne's WebSocket protocol, whose connection a DaphneSocket writes to."""

    def handle_reply(self, message: dict[str, Any]) -> None:
        """As Daphne's, and the answer to a handshake that is turned away."""
        if not denial.handle(self, message):
            super().handle_reply(message)


def attach(protocol: Any, scope: MutableMapping[str, Any]) -> None:
    """Offer the connection's socket to the application, in the scope's extensions."""
    scope.setdefault("extensions", {})[EXTENSION] = protocol
    denial.offer(scope)


def open_socket(scope: MutableMapping[str, Any], send: Send, most_unsent: int) -> Socket:
    """The best socket there is for an accepted connection."""
    protocol = scope.get("extensions", {}).get(EXTENSION)
    if protocol is not None:
        return DaphneSocket(protocol, most_unsent)
    return AsgiSocket(send, most_unsent)


class DaphneSocket:
    """Writes to Daphne's transport: at once while nothing is waiting before us, else behind what waits.

    `dataBuffer`, `_tempDataBuffer` and `offset` are Twisted's own (twisted.internet.abstract.FileDescriptor); a test
    says so when they change. TLS transports have none of them: there everything goes through `write`.
    """

    __slots__ = ("_direct", "_most_unsent", "_protocol", "_transport", "on_slow")

    def __init__(self, protocol: Any, most_unsent: int) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._direct = has_open_buffers(protocol.transport)
        self._most_unsent = most_unsent
        self.on_slow: Callable[[], None] | None = None

    @property
    def unsent(self) -> int:
        transport = self._transport
        if not self._direct:
            return 0  # what a TLS transport holds back is not ours to see
        return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)

    def send(self, frame: Frame) -> None:
        protocol = self._protocol
        if protocol.state != protocol.STATE_OPEN:
            return
        transport, wire = self._transport, frame.wire
        if not self._direct:
            transport.write(wire)
        elif transport.dataBuffer or transport._tempDataBuffer:
            transport.write(wire)
            if self.on_slow is not None and self.unsent > self._most_unsent:
                on_slow, self.on_slow = self.on_slow, None
                on_slow()
        else:
            written = transport.writeSomeData(wire)
            if not isinstance(written, int):  # the connection is lost: the ordinary way notices and says so
                transport.write(wire)
            elif written < len(wire):
                transport.write(wire[written:])

    def close(self, code: int, reason: str) -> None:
        protocol = self._protocol
        self.on_slow = None
        if protocol.state == protocol.STATE_OPEN:
            protocol.sendClose(code, reason)


def has_open_buffers(transport: Any) -> bool:
    """Whether a transport lets us see what waits to be sent (plain TCP and Unix sockets do)."""
    return all(hasattr(transport, name) for name in ("writeSomeData", "dataBuffer", "_tempDataBuffer", "_tempDataLen"))


class AsgiSocket:
    """Writes through ASGI `send`, in order, from one task that lives while something is waiting."""

    __slots__ = ("_closed", "_most_unsent", "_queue", "_send", "_task", "on_slow", "unsent")

    def __init__(self, send: Send, most_unsent: int) -> None:
        self._send = send
        self._most_unsent = most_unsent
        self._queue: deque[Frame | tuple[int, str]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.on_slow: Callable[[], None] | None = None
        self.unsent = 0

    def send(self, frame: Frame) -> None:
        if self._closed:
            return
        self._put(frame)
        self.unsent += len(frame.payload)
        if self.unsent > self._most_unsent and self.on_slow is not None:
            on_slow, self.on_slow = self.on_slow, None
            on_slow()

    def close(self, code: int, reason: str) -> None:
        self.on_slow = None
        if not self._closed:
            self._closed = True
            self._put((code, reason))

    def _put(self, item: Frame | tuple[int, str]) -> None:
        self._queue.append(item)
        if self._task is None:
            self._task = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        try:
            while self._queue:
                item = self._queue.popleft()
                if isinstance(item, Frame):
                    await self._send({"type": "websocket.send", "text": item.text})
                    self.unsent -= len(item.payload)
                else:
                    self._queue.clear()
                    await self._close(*item)
        except Exception as error:  # noqa: BLE001  every server has its own way to say that the client went away
            logger.debug("a connection could not be written to: %r", error)
            self._queue.clear()
            self.unsent = 0
        finally:
            self._task = None

    async def _close(self, code: int, reason: str) -> None:
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except Exception:
            if code >= DisconnectCode.CONNECTION_CLOSED:
                raise
            # Some servers (stock Daphne) refuse the codes that RFC 6455 keeps for itself.
            await self._send({"type": "websocket.close", "code": int(DisconnectCode.BAD_REQUEST), "reason": reason})
