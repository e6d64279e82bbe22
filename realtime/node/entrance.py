"""The wait of a handshake for a place: until it is its turn, or its client is gone.

Before a handshake is answered, an ASGI server has nothing to say but that the client is gone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from flotilla.realtime.client.handshake import refuse
from flotilla.realtime.node.admission import Admission

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AGAIN_AFTER = 1  # seconds; the SDKs wait longer by themselves


async def enter(
    admission: Admission, address: str, scope: Mapping[str, Any], receive: Receive, send: Send
) -> int | None:
    """Wait for a place; gives its ticket, or None when the client is gone, or was refused since too many wait."""
    turn = admission.ask(address)
    if not turn.done():
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            admission.withdraw(turn)
            raise
        finally:
            gone.cancel()
        if gone.done() and not gone.cancelled():
            admission.withdraw(turn)
            return None
    if turn.exception() is not None:
        await refuse(scope, send, 503, AGAIN_AFTER)
        return None
    return turn.result()
