"""The WebSocket endpoint as an ASGI application: its messages become a handshake, and then calls of its client.

It is a consumer in Channels' sense (routed, made with `as_asgi`), but not one of Channels' classes: those hop to a
database thread on every event, and open a mailbox per connection. What is done about a handshake is the same as for one
that comes without ASGI (`flotilla.realtime.node.entrance`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.node.entrance import take
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.realtime.server.connection import ABNORMAL, EXTENSION, Connection
from flotilla.realtime.server.direct import Headers
from flotilla.realtime.server.sockets import Socket, open_socket
from flotilla.realtime.server.traffic import traffic

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
RESPONSE = "websocket.http.response"
"""The ASGI extension with which a server says that it can answer a handshake: ours, uvicorn and hypercorn can."""


class ConnectionConsumer:
    """Serves `/connection/websocket`."""

    @classmethod
    def as_asgi(cls) -> "ConnectionConsumer":
        """The application for a route."""
        return cls()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        client = await take(AsgiOpening(scope, receive, send))
        if client is not None and not isinstance(client.socket, Connection):  # which needs this coroutine no more
            await _serve(client, receive)


class AsgiOpening:
    """A handshake that came by ASGI (`flotilla.realtime.server.direct.Opening`)."""

    __slots__ = ("_receive", "_send", "scope")

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send

    @property
    def is_ours(self) -> bool:
        return isinstance((self.scope.get("extensions") or {}).get(EXTENSION), Connection)

    async def accept(self, subprotocol: str | None, max_unsent: int, headers: Headers = ()) -> Socket:
        message = {"type": "websocket.accept", "subprotocol": subprotocol}
        await self._send(message | {"headers": list(headers)} if headers else message)
        return open_socket(self.scope, self._send, max_unsent)

    async def reject(self, status: int, headers: Headers = ()) -> None:
        if status == 403:
            await self._send({"type": "websocket.close", "code": int(DisconnectCode.PERMISSION_DENIED)})
        elif RESPONSE in (self.scope.get("extensions") or {}):
            await self._send({"type": f"{RESPONSE}.start", "status": status, "headers": list(headers)})
            await self._send({"type": f"{RESPONSE}.body", "body": b""})
        else:
            code = DisconnectCode.TOO_MANY_REQUESTS
            await self._send({"type": "websocket.accept"})
            await self._send({"type": "websocket.send", "text": replies.disconnect_push(code, code.reason).decode()})
            await self._send({"type": "websocket.close", "code": int(code), "reason": code.reason})

    def gone(self) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(self._receive())  # before the answer a server says nothing else


async def _serve(client: Client, receive: Receive) -> None:
    """Read from an ASGI server until it says that the connection is over."""
    code = ABNORMAL
    try:
        while (event := await receive())["type"] != "websocket.disconnect":
            text = event.get("text")
            message = event.get("bytes") or b"" if text is None else text
            traffic.websocket_in += len(message if isinstance(message, bytes) else message.encode())
            client.receive(message)
        code = event.get("code") or code
    finally:
        client.closed(code)
