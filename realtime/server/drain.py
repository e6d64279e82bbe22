"""How a serving process ends without losing anybody: not ready, then no listener, then every client told to move.

    SIGTERM → `is_leaving`, so that /health/ready says 503; `on_drain`: a successor can have the metrics port
    → a grace, for balancers to notice (0 standalone) → what waits to be accepted is accepted, the listener is closed
    → the application sends its clients away: the node tells them 3001 in waves and leaves the cluster
    → open requests end → `on_end`, at which the last figures are read → the server stops.

All of it within one deadline. Should the process hang, the kernel's alarm ends it a little later, where it is ours to
end (`alarm`). That the application is told of its end at last, as ASGI has it, is the server's matter.
"""

import asyncio
import logging
import math
import signal
from typing import Protocol

from flotilla.realtime.server.signals import end, leave

logger = logging.getLogger("flotilla.realtime.drain")

SETTLE = 0.1  # seconds in which those accepted last send their request
LAST_WORDS = 2.0  # seconds of the deadline kept for closing handshakes and open requests
OVERTIME = 2  # seconds after the deadline until the kernel ends a process that hangs

_leaving = False


def is_leaving() -> bool:
    """Whether this process was told to end, and should get no new clients."""
    return _leaving


class Server(Protocol):
    """What a drain needs of the server."""

    def stop_listening(self) -> None:
        """Accept what is queued, and close the listeners."""

    def refuse_new(self) -> None:
        """Refuse what still comes over connections that are open."""

    async def send_away(self, within: float) -> None:
        """Have the application tell its clients to connect elsewhere, within so many seconds."""

    async def quiet(self) -> None:
        """Wait until every WebSocket and request has ended."""

    def stop(self) -> None:
        """End the process."""


async def drain(server: Server, *, grace: float, deadline: float, alarm: bool = True) -> None:
    """End the server's process within `deadline` seconds, after `grace` seconds in which it still serves. `alarm`:
    have the kernel end it when it hangs."""
    global _leaving
    loop = asyncio.get_running_loop()
    ends = loop.time() + deadline
    if alarm:
        signal.alarm(math.ceil(deadline) + OVERTIME)
    _leaving = True
    try:
        async with asyncio.timeout_at(ends):
            await leave()
            await asyncio.sleep(grace)
            server.stop_listening()
            await asyncio.sleep(SETTLE)
            await server.send_away(max(0.0, ends - loop.time() - LAST_WORDS))
            server.refuse_new()
            await server.quiet()
            await end()
    except TimeoutError:
        logger.warning("not everything had ended within %g s", deadline)
    except Exception:
        logger.exception("the drain failed")
    finally:
        server.stop()
