"""/health/ as ASGI applications, which `flotilla.asgi` asks before Django: whatever the Host header says, and without a
thread.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from flotilla.monitoring import health

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def live(scope: Scope, receive: Receive, send: Send) -> None:
    """GET /health/live: 200 while the event loop turns."""
    await _answer(scope, send, 200, health.live())


async def ready(scope: Scope, receive: Receive, send: Send) -> None:
    """GET /health/ready: 200 when this instance should get clients, else 503."""
    found = await health.ready()
    await _answer(scope, send, 200 if found["ready"] else 503, found)


async def _answer(scope: Scope, send: Send, status: int, content: dict[str, Any]) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        status, content = 405, {"error": "use GET"}
    body = msgspec.json.encode(content)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
