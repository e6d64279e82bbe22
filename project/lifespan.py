"""ASGI's lifespan, for servers that speak it (uvicorn, hypercorn): the node starts and ends with the server.

Daphne does not speak it: ours starts the node itself, a stock Daphne starts it with the first connection.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from flotilla.realtime.node.node import current_node, get_node


async def lifespan(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Serve one lifespan connection to its end."""
    while True:
        event = await receive()
        if event["type"] == "lifespan.startup":
            await get_node()
            await send({"type": "lifespan.startup.complete"})
        elif event["type"] == "lifespan.shutdown":
            node = current_node()
            if node is not None:
                await node.drain(settings.DRAIN_DEADLINE)
            await send({"type": "lifespan.shutdown.complete"})
            return
