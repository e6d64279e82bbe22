"""Where WebSocket connections go. A handshake for any other path is refused."""

from typing import Any

from channels.routing import URLRouter
from django.urls import path

from realtime.consumers import ConnectionConsumer

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
