"""Where WebSocket connections go. A handshake for any other path is refused."""

from typing import Any

from channels.routing import URLRouter
from django.urls import path

from flotilla.realtime.consumers import ConnectionConsumer
from flotilla.realtime.server.handshake import NO_UPGRADE, UPGRADE_HEADERS

websocket_urlpatterns = [path("connection/websocket", ConnectionConsumer.as_asgi())]  # type: ignore[arg-type]
_routes = URLRouter(websocket_urlpatterns)


async def websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application for WebSocket scopes."""
    try:
        await _routes(scope, receive, send)
    except ValueError as error:
        if "No route found" not in str(error):
            raise
        await receive()
        await send({"type": "websocket.close", "code": 1000})


async def without_upgrade(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """A plain request where handshakes go: most likely a proxy does not pass the upgrade on. 426 says what to set."""
    body = f"{NO_UPGRADE}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), *UPGRADE_HEADERS]
    await send({"type": "http.response.start", "status": 426, "headers": [*headers, (b"connection", b"upgrade")]})
    await send({"type": "http.response.body", "body": body})


http_urlpatterns = [path("connection/websocket", without_upgrade)]  # type: ignore[arg-type]
