"""Handshakes: their rate limits, which come before any other work, and how one that may come again is refused."""

import math
from collections.abc import Mapping
from typing import Any

from flotilla.ratelimit.http.requests import address_of_scope
from flotilla.ratelimit.service import get_limits
from flotilla.ratelimit.subjects import Subject
from flotilla.realtime.server.direct import Opening


async def refused(opening: Opening) -> bool:
    """Whether there are too many handshakes from where this one comes; if so, it has been answered."""
    limits = get_limits()
    policies = limits.guarding("ws.connect")
    if not policies:
        return False
    scope = opening.scope
    subject = Subject(address_of_scope(scope), header=lambda name: _header(scope, name))
    decision = await limits.ask(policies, subject)
    if not decision.allowed:
        await refuse(opening, 429, max(1, math.ceil(decision.retry_after)))
    return not decision.allowed


async def refuse(opening: Opening, status: int, seconds: int) -> None:
    """Answer a handshake that may come again after so many seconds."""
    await opening.reject(status, [(b"retry-after", b"%d" % seconds), (b"content-length", b"0")])


def _header(scope: Mapping[str, Any], name: str) -> str:
    """A header's values in the order they came, joined as HTTP allows."""
    wanted = name.lower().encode()
    return ", ".join(value.decode("latin1") for key, value in scope.get("headers", ()) if key.lower() == wanted)
