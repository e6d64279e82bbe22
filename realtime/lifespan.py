"""The platform's part in ASGI's lifespan: the node starts before the first connection, and has left the cluster at the
end.

It serves every server that speaks lifespan. Our own also asks for its clients to be sent away while they are connected
(`flotilla.realtime.server.lifespan`); others (uvicorn, hypercorn) have closed connections before they say that it ends.
A stock Daphne does not speak it: there the node starts with the first connection.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from flotilla.realtime.node.node import current_node, get_node
from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.lifespan import EXTENSION

logger = logging.getLogger("flotilla.realtime.drain")


class NodeClients:
    """The clients of this process's node, for a server that drains (`flotilla.realtime.server.lifespan.Clients`)."""

    def ready(self) -> str:
        """The node's incarnation, once all its checks hold."""
        node = current_node()
        return node.presence.incarnation if node is not None and all(node.checks().values()) else ""

    async def send_away(self, within: float) -> None:
        """Drain the node within so many seconds."""
        node = current_node()
        if node is not None:
            logger.info("draining %d clients", len(node.clients))
            await node.drain(within)


async def lifespan(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Serve a server's lifespan to its end."""
    await receive()  # lifespan.startup
    try:
        await get_node()
    except Exception as error:
        logger.exception("the node could not be started")
        await send({"type": "lifespan.startup.failed", "message": f"the node could not be started: {error!r}"})
        return
    clients, register = NodeClients(), (scope.get("extensions") or {}).get(EXTENSION)
    if register is not None:
        register(clients)
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    if register is None:  # else the server has had them sent away
        await clients.send_away(get_server_config().drain_deadline)
    await send({"type": "lifespan.shutdown.complete"})
