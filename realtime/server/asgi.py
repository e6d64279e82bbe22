"""The ASGI side of a WebSocket that nobody has adopted: its application's task and the events it has not received yet.

What waits for a slow application is bounded: at `MAX_EVENTS` or `MAX_HELD` nothing more is read from the client until
it catches up. So is what waits for a slow client: `send` returns when the transport has room again (Twisted's own
bound, 64 KiB). From the first event after its acceptance on, the client is pinged (`keepalive`).
"""

import asyncio
import logging
import sys
from collections.abc import Iterable
from typing import Any, Protocol

from flotilla.realtime.protocol.frames import BINARY, Frame, Wire
from flotilla.realtime.server import handshake
from flotilla.realtime.server.budget import Allowance, Budget
from flotilla.realtime.server.handshake import Headers
from flotilla.realtime.server.incoming_frames import can_be_sent
from flotilla.realtime.server.keepalive import Keepalive
from flotilla.realtime.server.traffic import traffic

logger = logging.getLogger("flotilla.realtime.connection")

MAX_EVENTS = 64
MAX_AT_ONCE = 16  # events an application receives before others have their turn
UNSEEN = Allowance(2000, sys.maxsize)  # frames of which it sees nothing
MAX_HELD = 2**20  # bytes of text or binary in them, and what one turn adds


class WebSocket(Protocol):
    """What an application's side needs of its connection."""

    max_unsent: int

    @property
    def is_connecting(self) -> bool:
        """Whether the handshake waits for its answer."""

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""

    def accept(self, key: bytes, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> None: ...

    def reject(self, response: bytes) -> None: ...

    def send(self, frame: Frame | Wire) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...

    def pause(self, paused: bool) -> None: ...

    def throttle(self, producer: Any) -> None: ...

    def keepalive(self) -> Keepalive | None:
        """Pings for the time that the application has it; None where the server sends none."""

    def ended(self) -> None: ...


class AsgiSide:
    """Runs one application for one connection."""

    __slots__ = ("_at_once", "_body", "_connection", "_events", "_has_room", "_held", "_is_full", "_keepalive", "_key",
                 "_refusing", "_told", "task", "unseen")  # fmt: skip

    task: "asyncio.Task[None]"

    def __init__(self, connection: WebSocket, key: bytes) -> None:
        self._connection = connection
        self._key = key
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._events.put_nowait({"type": "websocket.connect"})
        self._refusing: tuple[int, Headers] | None = None
        self._body = b""  # of the refusal
        self._has_room: asyncio.Event | None = None  # whether the client takes what is sent
        self._told = False  # the application was told that it is over
        self._held = 0  # bytes of messages that the application has not received
        self._at_once = 0  # events received since others had their turn
        self.unseen = Budget(UNSEEN)
        self._is_full = False  # and so nothing more is read
        self._keepalive: Keepalive | None = None

    def run(self, application: Any, scope: dict[str, Any]) -> None:
        """Start the application."""
        self.task = asyncio.ensure_future(application(scope, self._receive, self._send))
        self.task.add_done_callback(self._done)

    def put_message(self, message: str | bytes) -> None:
        """A message for the application."""
        kind, other = ("text", "bytes") if isinstance(message, str) else ("bytes", "text")
        self.put({"type": "websocket.receive", kind: message, other: None})
        self._held += len(message)
        if not self._is_full and (self._events.qsize() >= MAX_EVENTS or self._held >= MAX_HELD):
            self._is_full = True
            self._stop_pings()  # their answers would not be read
            self._connection.pause(True)

    def put(self, event: dict[str, Any]) -> None:
        """An event for the application; nothing follows a disconnect."""
        if not self._told:
            self._told = event["type"] == "websocket.disconnect"
            self._events.put_nowait(event)
            if self._told:
                self._stop_pings()
                if self._has_room is not None:
                    self._has_room.set()

    def release(self) -> list[dict[str, Any]]:
        """What the application has not received and somebody else takes over."""
        self._stop_pings()
        if self._is_full:
            self._connection.pause(False)
        return [self._events.get_nowait() for _ in range(self._events.qsize())]

    async def _receive(self) -> dict[str, Any]:
        if self._keepalive is None and not self._is_full and self._connection.is_open and not self._told:
            self._keepalive = self._connection.keepalive()
        self._at_once = 0 if self._events.empty() else self._at_once + 1
        if self._at_once >= MAX_AT_ONCE:
            self._at_once = 0
            await asyncio.sleep(0)
        event = await self._events.get()
        self._held -= len(event.get("text") or event.get("bytes") or "")
        if self._is_full and self._events.qsize() < MAX_EVENTS and self._held < MAX_HELD:
            self._is_full = False
            self._connection.pause(False)
        return event

    def _stop_pings(self) -> None:
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.send":
            await self._send_message(message)
        elif kind == "websocket.close":
            self._close(message)
        elif kind.startswith("websocket.http.response."):
            self._refuse(kind, message)
        else:
            raise ValueError(f"unexpected ASGI message {kind!r}")

    def _accept(self, message: dict[str, Any]) -> None:
        if self._connection.is_open:
            raise ValueError("the connection was accepted already")
        self._connection.accept(self._key, message.get("subprotocol"), list(message.get("headers") or ()))

    async def _send_message(self, message: dict[str, Any]) -> None:
        connection = self._connection
        if connection.is_connecting:
            raise ValueError("nothing can be sent before the connection is accepted")
        if not connection.is_open:
            return
        data = message.get("bytes")
        frame = Frame(message["text"].encode()) if data is None else Frame(data, BINARY)
        if self._has_room is None:
            self._has_room = asyncio.Event()
            self._has_room.set()
            connection.throttle(self)
        connection.send(frame)
        traffic.websocket_out += len(frame.wire)
        await self._has_room.wait()

    def _close(self, message: dict[str, Any]) -> None:
        if self._connection.is_connecting:
            self._connection.reject(handshake.refusal(403))
            return
        code = message.get("code") or 1000
        if not can_be_sent(code):
            raise ValueError(f"a connection cannot be closed with {code}")
        self._connection.close(code, message.get("reason") or "")

    def _refuse(self, kind: str, message: dict[str, Any]) -> None:
        if self._connection.is_open:
            raise ValueError("the connection was accepted already")
        if kind.endswith(".start"):
            self._refusing = (message["status"], list(message.get("headers") or ()))
        elif self._refusing is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                self._connection.reject(handshake.refusal(*self._refusing, self._body))

    # Called by Twisted, as of a producer

    def pauseProducing(self) -> None:
        if self._has_room is not None and not self._told:
            self._has_room.clear()

    def resumeProducing(self) -> None:
        if self._has_room is not None:
            self._has_room.set()

    def stopProducing(self) -> None:
        self.resumeProducing()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._stop_pings()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("the application of a WebSocket failed", exc_info=error)
        self._connection.ended()
