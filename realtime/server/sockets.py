"""A connection's socket: where frames are written, how much is unsent, how it is closed with a reason.

Under our server that is the connection itself (`connection`): no ASGI message, no coroutine, no framing per connection.
Under any other ASGI server frames go through `send` (`AsgiSocket`). Both keep the order of calls, never block or raise,
and hold at most `max_unsent` bytes for a client that does not read: then they call `on_slow`, once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.realtime.protocol.frames import TEXT, Frame
from flotilla.realtime.server.connection import EXTENSION, Connection
from flotilla.realtime.server.transports import in_flight, unsent

logger = logging.getLogger("flotilla.realtime.sockets")

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Socket(Protocol):
    """What frames for a client are written to."""

    on_slow: Callable[[], None] | None

    @property
    def descriptor(self) -> int:
        """As an outlet's (`flotilla.realtime.protocol.frames`)."""

    @property
    def unsent(self) -> int:
        """Bytes accepted but not yet taken by the network."""

    @property
    def waiting(self) -> int:
        """`unsent`, and what is on its way to the client where this can be known."""

    def send(self, frame: Frame) -> None: ...

    def send_soon(self, frame: Frame) -> None:
        """As `send`, but it need not leave before the end of this turn of the event loop."""

    def close(self, code: int, reason: str) -> None:
        """Close after what was sent; nothing can be sent any more."""


def open_socket(scope: MutableMapping[str, Any], send: Send, max_unsent: int) -> Socket:
    """The best socket there is for an accepted connection."""
    connection = scope.get("extensions", {}).get(EXTENSION)
    if isinstance(connection, Connection):
        connection.max_unsent = max_unsent
        return connection
    return AsgiSocket(send, max_unsent)


class AsgiSocket:
    """Writes through ASGI `send`, in order, from one task that lives while something is waiting.

    A stock Daphne's `send` never waits for the client: there, what is unsent waits in the transport behind it.
    """

    __slots__ = ("_closed", "_max_unsent", "_queue", "_queued", "_send", "_task", "_transport", "on_slow")

    def __init__(self, send: Send, max_unsent: int) -> None:
        self._send = send
        self._max_unsent = max_unsent
        self._queue: deque[Frame | tuple[int, str]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._queued = 0
        self._transport = transport_behind(send)
        self.on_slow: Callable[[], None] | None = None

    @property
    def descriptor(self) -> int:
        """None: everything goes through ASGI."""
        return -1

    @property
    def unsent(self) -> int:
        return self._queued + unsent(self._transport)

    @property
    def waiting(self) -> int:
        return self.unsent + in_flight(self._transport)

    def send(self, frame: Frame) -> None:
        if self._closed:
            return
        self._put(frame)
        self._queued += len(frame.payload)
        self._look()

    def send_soon(self, frame: Frame) -> None:
        self.send(frame)  # its task writes later in any case

    def _look(self) -> None:
        if self.on_slow is not None and self.unsent > self._max_unsent:
            on_slow, self.on_slow = self.on_slow, None
            on_slow()  # the end follows later, as it must in the middle of a fan-out
            self._queue.clear()  # these it will not get
            self._queued = 0

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
                    await self._give(item)
                    self._queued -= len(item.payload)
                else:
                    self._queue.clear()
                    await self._close(*item)
        except Exception as error:  # noqa: BLE001  every server has its own way to say that the client went away
            logger.debug("a connection could not be written to: %r", error)
            self._queue.clear()
            self._queued = 0
        finally:
            self._task = None

    async def _give(self, frame: Frame) -> None:
        content = {"text": frame.text} if frame.opcode == TEXT else {"bytes": frame.payload}
        await self._send({"type": "websocket.send"} | content)

    async def _close(self, code: int, reason: str) -> None:
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except Exception:
            if code >= DisconnectCode.CONNECTION_CLOSED:
                raise
            # Some servers (stock Daphne) refuse the codes that RFC 6455 keeps for itself.
            await self._send({"type": "websocket.close", "code": int(DisconnectCode.BAD_REQUEST), "reason": reason})


def transport_behind(send: Send) -> Any:
    """The Twisted transport that a stock Daphne's `send` writes to, None under other servers."""
    return next((one.transport for one in getattr(send, "args", ()) if hasattr(one, "transport")), None)
