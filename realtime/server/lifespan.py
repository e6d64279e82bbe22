"""The lifespan of the application that is served, as ASGI has it: started before the first connection is accepted,
ended after the last one.

An application without a lifespan (it raises an exception when it is asked, or returns) is served all the same, and not
asked again. One that says that it could not start is not served.

ASGI's lifespan ends when all connections are closed. An application whose clients stay connected can do better when
the server drains: it sends them away in an order of its own, while they are still connected. For that there is an
extension: the application calls `scope["extensions"]["flotilla.drain"]` with its `Clients`, before it says that its
startup is complete.
"""

import asyncio
import logging
from typing import Any, Protocol

logger = logging.getLogger("flotilla.realtime.server")

EXTENSION = "flotilla.drain"

_ours = False


def serve_here() -> None:
    """Our own server serves in this process."""
    global _ours
    _ours = True


def is_served_here() -> bool:
    """Whether our own server serves in this process, which speaks lifespan."""
    return _ours


class Clients(Protocol):
    """Clients of an application that stay connected: what the server asks of them."""

    def ready(self) -> str:
        """The name under which the application takes clients, once it can; "" until then. The supervisor gets it."""

    async def send_away(self, within: float) -> None:
        """Tell them to connect elsewhere, within so many seconds; nobody new can connect to this process."""


class StartupFailed(Exception):
    """The application said that it could not start, and why."""


class Lifespan:
    """One application's. Use it in one event loop. `state`: of the server, for the application to put things in."""

    def __init__(self, application: Any, state: dict[str, Any] | None = None) -> None:
        self._state = state
        self.clients: Clients | None = None
        self._application = application
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked = ""  # the event that is to be answered
        self._answer: asyncio.Future[dict[str, Any] | None]
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Start the application. Raises StartupFailed."""
        self._task = asyncio.create_task(self._run())
        answer = await self._ask("lifespan.startup")
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            raise StartupFailed(answer.get("message", ""))

    async def shutdown(self, within: float) -> None:
        """End the application, which has so many seconds; one that has no lifespan any more is not asked."""
        task = self._task
        if task is None or task.done():
            return
        try:
            async with asyncio.timeout(within):
                answer = await self._ask("lifespan.shutdown")
        except TimeoutError:
            logger.warning("the shutdown of the application took longer than %g s", within)
        else:
            if answer is not None and answer["type"] == "lifespan.shutdown.failed":
                logger.error("the shutdown of the application failed: %s", answer.get("message", ""))
        task.cancel()
        await asyncio.sleep(0)  # it ends

    async def send_away(self, within: float) -> None:
        """Have the application send its clients away, if it can."""
        if self.clients is not None:
            await self.clients.send_away(within)

    async def _ask(self, event: str) -> dict[str, Any] | None:
        """The application's answer to an event; None when its lifespan has ended without one."""
        self._asked = event
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": event})
        return await self._answer

    async def _run(self) -> None:
        scope: dict[str, Any] = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "extensions": {EXTENSION: self._register},
        }
        if self._state is not None:
            scope["state"] = self._state
        try:
            await self._application(scope, self._events.get, self._send)
        except Exception as error:  # noqa: BLE001  an application without a lifespan may raise whatever it likes
            self._failed(error)
        finally:
            if not self._answer.done():
                self._answer.set_result(None)

    def _failed(self, error: Exception) -> None:
        if self._asked == "lifespan.startup" and not self._answer.done():
            logger.info("the application has no lifespan: %r", error)
        else:
            logger.error("the lifespan of the application failed", exc_info=error)

    def _register(self, clients: Clients) -> None:
        self.clients = clients

    async def _send(self, message: dict[str, Any]) -> None:
        if self._answer.done() or message["type"] not in (f"{self._asked}.complete", f"{self._asked}.failed"):
            raise ValueError(f"unexpected ASGI message {message['type']!r}")
        self._answer.set_result(message)
