"""How a serving process ends without losing anybody: not ready, then no listener, then every client told to move.

    SIGTERM → /health/ready says 503 and the metrics port is released → a grace, for balancers to notice (0 standalone)
    → what waits to be accepted is accepted, the listener is closed → the node tells its clients 3001 in waves and
    leaves the cluster → open requests end → the server stops.

All of it within one deadline. Should the process hang, the kernel's alarm ends it a little later.
"""

import asyncio
import logging
import math
import signal
from typing import Protocol

from flotilla.realtime.server.lifecycle import leave, on_drain

logger = logging.getLogger("flotilla.realtime.drain")

SETTLE = 0.1  # seconds in which those accepted last send their request
LAST_WORDS = 2.0  # seconds of the deadline kept for closing handshakes and open requests
RELEASE_WITHIN = 1.0  # seconds that receivers of on_drain may take
OVERTIME = 2  # seconds after the deadline until the kernel ends a process that hangs


class Server(Protocol):
    """What a drain needs of the server."""

    def stop_listening(self) -> None:
        """Accept what is queued, and close the listeners."""

    def refuse_new(self) -> None:
        """Refuse what still comes over connections that are open."""

    async def quiet(self) -> None:
        """Wait until every WebSocket and request has ended."""

    def stop(self) -> None:
        """End the process."""


async def drain(server: Server, *, grace: float, deadline: float) -> None:
    """End the server's process within `deadline` seconds, after `grace` seconds in which it still serves."""
    from flotilla.realtime.node.node import current_node  # the server is imported before Django is set up

    loop = asyncio.get_running_loop()
    ends = loop.time() + deadline
    signal.alarm(math.ceil(deadline) + OVERTIME)
    leave()
    try:
        async with asyncio.timeout_at(ends):
            await _release()
            await asyncio.sleep(grace)
            server.stop_listening()
            await asyncio.sleep(SETTLE)
            node = current_node()
            if node is not None:
                logger.info("draining %d clients", len(node.clients))
                await node.drain(max(0.0, ends - loop.time() - LAST_WORDS))
            server.refuse_new()
            await server.quiet()
    except TimeoutError:
        logger.warning("not everything had ended within %g s", deadline)
    except Exception:
        logger.exception("the drain failed")
    finally:
        server.stop()


async def _release() -> None:
    try:
        async with asyncio.timeout(RELEASE_WITHIN):
            for receiver, result in await on_drain.asend_robust(sender=None):
                if isinstance(result, Exception):
                    logger.error("%r failed at the drain", receiver, exc_info=result)
    except TimeoutError:
        logger.warning("what had to be released at the drain was not, within %g s", RELEASE_WITHIN)
