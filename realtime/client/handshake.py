"""Handshakes: their rate limits, which come before any other work, and how one is refused.

Too many are answered with 429 where the server can answer a handshake, else the connection is closed with 3013.

The ASGI extension `websocket.http.response` is how a server says that it can; our Daphne, uvicorn and hypercorn do.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from flotilla.ratelimit.http.requests import address_of_scope
from flotilla.ratelimit.service import get_limits
from flotilla.ratelimit.subjects import Subject
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import DisconnectCode

Send = Callable[[dict[str, Any]], Awaitable[None]]
RESPONSE = "websocket.http.response"


async def refused(scope: Mapping[str, Any], send: Send) -> bool:
    """Whether there are too many handshakes from where this one comes; if so, it has been answered."""
    limits = get_limits()
    policies = limits.guarding("ws.connect")
    if not policies:
        return False
    subject = Subject(address_of_scope(scope), header=lambda name: _header(scope, name))
    decision = await limits.ask(policies, subject)
    if not decision.allowed:
        await refuse(scope, send, 429, max(1, math.ceil(decision.retry_after)))
    return not decision.allowed


async def refuse(scope: Mapping[str, Any], send: Send, status: int, seconds: int) -> None:
    """Answer a handshake that may come again after so many seconds."""
    if RESPONSE in (scope.get("extensions") or {}):
        headers = [(b"retry-after", b"%d" % seconds), (b"content-length", b"0")]
        await send({"type": f"{RESPONSE}.start", "status": status, "headers": headers})
        await send({"type": f"{RESPONSE}.body", "body": b""})
        return
    code = DisconnectCode.TOO_MANY_REQUESTS
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": replies.disconnect_push(code, code.reason).decode()})
    await send({"type": "websocket.close", "code": int(code), "reason": code.reason})


def _header(scope: Mapping[str, Any], name: str) -> str:
    """A header's values in the order they came, joined as HTTP allows."""
    wanted = name.lower().encode()
    return ", ".join(value.decode("latin1") for key, value in scope.get("headers", ()) if key.lower() == wanted)
