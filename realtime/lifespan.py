"""The platform's part in ASGI's lifespan: the process is set up and its node starts before the first connection, and
both have left the cluster at the end. The lifespan of the project's own application, where it has one, is around it.

It serves every server that speaks lifespan. Our own also asks for its clients to be sent away while they are connected
(`flotilla.realtime.server.lifespan`). Under others they are sent away when SIGTERM comes, where the server lets us
(`flotilla.realtime.server.other_server`), else at its end, when it has closed most connections itself. A stock Daphne
does not speak it: there everything starts with its event loop (`start_with_daphne`).
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from flotilla.conf import problems
from flotilla.config_reader import ConfigProblems
from flotilla.presence import NameTaken
from flotilla.realtime.node.node import current_node, get_node
from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.drain import is_leaving
from flotilla.realtime.server.lifespan import EXTENSION, Lifespan, StartupFailed, is_served_here
from flotilla.realtime.server.other_server import drain_at_sigterm
from flotilla.realtime.server.signals import RELEASE_WITHIN, boot, end, leave
from flotilla.realtime.server.workers import name_worker
from flotilla.store import get_store

logger = logging.getLogger("flotilla.realtime.drain")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


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


async def lifespan(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve a server's lifespan to its end."""
    await _serve(None, scope, receive, send)


def lifespan_around(application: Any) -> Callable[[dict[str, Any], Receive, Send], Awaitable[None]]:
    """The same for a project whose own application may have a lifespan: it begins before ours and ends after it."""

    async def both(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await _serve(Lifespan(application, scope.get("state")), scope, receive, send)

    return both


async def _serve(own: Lifespan | None, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()  # lifespan.startup
    clients, register = NodeClients(), (scope.get("extensions") or {}).get(EXTENSION)
    try:
        if own is not None:
            await own.startup()
        await _start(clients, register)
    except StartupFailed as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    except Exception as error:
        taken = isinstance(error, NameTaken)  # which says all there is to say
        logger.error("the node could not be started: %s", error, exc_info=not taken)
        try:
            await _end(clients, register is not None)
            if own is not None:
                await own.shutdown(get_server_config().drain_deadline)
        except Exception:  # as of settings that cannot be read: the server has to hear of the first fault all the same
            logger.exception("what had started could not be ended")
        message = str(error) if taken else f"the node could not be started: {error!r}"
        await send({"type": "lifespan.startup.failed", "message": message})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    await _end(clients, register is not None)
    if own is not None:
        await own.shutdown(get_server_config().drain_deadline)
    await send({"type": "lifespan.shutdown.complete"})


async def _start(clients: NodeClients, register: Callable[[NodeClients], None] | None) -> None:
    """Under our own server `register` is how it knows our clients, and the process is set up already."""
    if found := list(dict.fromkeys(problems())):
        raise ConfigProblems(found)
    if register is None:
        name_worker()
        await boot()
    loop = asyncio.get_running_loop()
    get_store().layout.on_end = partial(loop.call_soon_threadsafe, signal.raise_signal, signal.SIGTERM)
    node = await get_node(claims_name=True)
    node.relay()
    if register is not None:
        register(clients)
    else:
        drain_at_sigterm(clients)


async def _end(clients: NodeClients, is_ours: bool) -> None:
    """The server ends. Whoever is still there is sent away now, unless the server has had that done."""
    if is_ours:
        return
    if not is_leaving():
        await leave()
    await clients.send_away(get_server_config().drain_deadline)
    with contextlib.suppress(TimeoutError):  # the server has a deadline of its own, which is not known here
        async with asyncio.timeout(RELEASE_WITHIN):
            await end()


def start_with_daphne() -> None:
    """Set the process up as soon as a stock Daphne's event loop turns; call it when the application is made.

    Daphne speaks no lifespan, but it makes its loop before it imports the application. Where Daphne is only installed,
    and another server serves, that loop never turns.
    """
    daphne = sys.modules.get("daphne.server")
    if daphne is not None:
        loop: asyncio.AbstractEventLoop = daphne.twisted_loop
        loop.call_soon_threadsafe(lambda: _tasks.add(loop.create_task(_start_unless_started())))


_tasks: set["asyncio.Task[None]"] = set()


async def _start_unless_started() -> None:
    if current_node() is not None or is_served_here():
        return
    try:
        await _start(NodeClients(), None)
    except NameTaken as error:
        logger.error("the process ends: %s", error)  # Daphne has no start that could fail
        signal.raise_signal(signal.SIGTERM)
    except Exception:
        logger.exception("the node could not be started")
