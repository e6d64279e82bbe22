"""The WebSocket endpoint: an ASGI application that turns a connection's events into calls of its client.

It is a consumer in Channels' sense (routed, made with `as_asgi`), but not one of Channels' classes: those hop to a
database thread on every event, and open a mailbox per connection.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from flotilla.ratelimit.http.requests import address_of_scope
from flotilla.realtime.access.origins import refusal
from flotilla.realtime.client import handshake
from flotilla.realtime.client.client import Client
from flotilla.realtime.node.entrance import enter
from flotilla.realtime.node.node import get_node
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.realtime.server.connection import ABNORMAL, Connection
from flotilla.realtime.server.sockets import open_socket
from flotilla.realtime.server.traffic import traffic

logger = logging.getLogger("flotilla.realtime.consumer")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
JSON_SUBPROTOCOL = "centrifuge-json"


class ConnectionConsumer:
    """Serves `/connection/websocket`."""

    @classmethod
    def as_asgi(cls) -> "ConnectionConsumer":
        """The application for a route."""
        return cls()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        node = await get_node()
        await receive()  # websocket.connect
        if await handshake.refused(scope, send):
            return
        offered = scope.get("subprotocols") or []
        problem = refusal(scope, node.config) or _unknown_protocol(scope, offered)
        if problem:
            logger.warning("handshake refused: %s", problem)
            await send({"type": "websocket.close", "code": DisconnectCode.PERMISSION_DENIED})
            return
        address = address_of_scope(scope)
        place = await enter(node.admission, address, scope, receive, send)
        if place is None:
            return
        try:
            await send({"type": "websocket.accept", "subprotocol": JSON_SUBPROTOCOL if offered else None})
        except BaseException:
            node.admission.leave(place)
            raise
        socket = open_socket(scope, send, node.config.max_outgoing_bytes)
        client = Client(node, socket, scope, place, address)
        if node.draining:
            client.disconnect(DisconnectCode.SHUTDOWN)
        elif reason := node.blocks.against("", client.address):
            client.disconnect(DisconnectCode.PERMISSION_DENIED, reason)
        if isinstance(socket, Connection):
            socket.adopt(client, node.bounds)  # it calls the client itself: this coroutine is needed no more
        else:
            await _serve(client, receive)


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


def _unknown_protocol(scope: dict[str, Any], offered: list[str]) -> str:
    """Why the handshake asks for something that is not spoken here; "" when it does not."""
    if offered and JSON_SUBPROTOCOL not in offered:
        return "none of the subprotocols that were offered is spoken here"
    if b"protobuf" in scope.get("query_string", b""):
        return "protobuf is not spoken here"
    return ""
