"""The ASGI side of a WebSocket that nobody has adopted: its application's task and the events it has not received yet.

What waits for a slow application is bounded: at `MOST_EVENTS` nothing more is read from the client until it catches up.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from realtime.protocol.frames import BINARY, Frame
from realtime.server import handshake
from realtime.server.handshake import Headers

if TYPE_CHECKING:
    from realtime.server.connection import Connection

logger = logging.getLogger("realtime.connection")

MOST_EVENTS = 64


class AsgiSide:
    """Runs one application for one connection."""

    __slots__ = ("_connection", "_events", "_key", "_refusing", "_told", "task")

    task: "asyncio.Task[None]"

    def __init__(self, connection: "Connection", key: bytes) -> None:
        self._connection = connection
        self._key = key
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._events.put_nowait({"type": "websocket.connect"})
        self._refusing: tuple[int, Headers] | None = None
        self._told = False  # the application was told that it is over

    def run(self, application: Any, scope: dict[str, Any]) -> None:
        """Start the application."""
        self.task = asyncio.ensure_future(application(scope, self._receive, self._send))
        self.task.add_done_callback(self._done)

    def put_message(self, message: str | bytes) -> None:
        """A message for the application."""
        kind, other = ("text", "bytes") if isinstance(message, str) else ("bytes", "text")
        self.put({"type": "websocket.receive", kind: message, other: None})
        if self._events.qsize() >= MOST_EVENTS:
            self._connection.pause(True)

    def put(self, event: dict[str, Any]) -> None:
        """An event for the application; nothing follows a disconnect."""
        if not self._told:
            self._told = event["type"] == "websocket.disconnect"
            self._events.put_nowait(event)

    def waiting(self) -> list[dict[str, Any]]:
        """What the application has not received."""
        return [self._events.get_nowait() for _ in range(self._events.qsize())]

    async def _receive(self) -> dict[str, Any]:
        event = await self._events.get()
        if self._events.qsize() == MOST_EVENTS - 1:
            self._connection.pause(False)
        return event

    async def _send(self, message: dict[str, Any]) -> None:
        connection, kind = self._connection, message["type"]
        if kind == "websocket.accept":
            connection.accept(self._key, message.get("subprotocol"), list(message.get("headers") or ()))
        elif kind == "websocket.send":
            if not connection.is_open:
                return
            data = message.get("bytes")
            if data is not None:
                connection.send(Frame(data, BINARY))
            else:
                connection.send(Frame(message["text"].encode()))
        elif kind == "websocket.close":
            self._close(message)
        elif kind == "websocket.http.response.start":
            self._refusing = (message["status"], list(message.get("headers") or ()))
        elif kind == "websocket.http.response.body" and self._refusing is not None:
            connection.reject(handshake.refusal(*self._refusing, message.get("body", b"")))
        else:
            raise ValueError(f"unexpected ASGI message {kind!r}")

    def _close(self, message: dict[str, Any]) -> None:
        if self._connection.is_open:
            self._connection.close(message.get("code") or 1000, message.get("reason") or "")
        else:
            self._connection.reject(handshake.refusal(403))

    def _done(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("the application of a WebSocket failed", exc_info=error)
        self._connection.ended()
