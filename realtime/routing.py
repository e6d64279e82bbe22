"""The client endpoint's address, and what answers there. `flotilla.asgi` puts it into a project's ASGI application;
`websocket_urlpatterns` is for a Channels URLRouter of a project's own.
"""

from typing import Any

from django.urls import path

from flotilla.realtime.consumers import ConnectionConsumer
from flotilla.realtime.responses.emulation import emulation
from flotilla.realtime.responses.http_stream import http_stream
from flotilla.realtime.responses.sse import sse
from flotilla.realtime.responses.uni_sse import uni_sse
from flotilla.realtime.server.handshake import NO_UPGRADE, UPGRADE_HEADERS

ENDPOINT = "/connection/websocket"

RESPONSES = {
    "/connection/http_stream": http_stream,
    "/connection/sse": sse,
    "/connection/uni_sse": uni_sse,
    "/emulation": emulation,
}
"""What answers clients without WebSockets, by path."""

endpoint = ConnectionConsumer.as_asgi()
websocket_urlpatterns = [path(ENDPOINT.removeprefix("/"), endpoint)]  # type: ignore[arg-type]


async def without_upgrade(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """A plain request where handshakes go: most likely a proxy does not pass the upgrade on. 426 says what to set."""
    body = f"{NO_UPGRADE}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), *UPGRADE_HEADERS]
    await send({"type": "http.response.start", "status": 426, "headers": [*headers, (b"connection", b"upgrade")]})
    await send({"type": "http.response.body", "body": body})
