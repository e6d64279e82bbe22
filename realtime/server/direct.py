"""A WebSocket that its application takes without ASGI: no messages and no queue, and no task unless it has to wait.

An ASGI application may have a method `without_asgi(scope)`. For a WebSocket that it takes in this way it gives the
function that does, which is called with an `Opening`; for any other None, and the WebSocket comes by ASGI.
`flotilla.asgi` has it for the client endpoint. An application around that one, which has no such method, sees every
WebSocket; one that has nothing to do with WebSockets may pass the method on.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, MutableMapping
from typing import Any, Protocol

from flotilla.realtime.server import handshake
from flotilla.realtime.server.asgi import WebSocket
from flotilla.store.begun import begin

logger = logging.getLogger("flotilla.realtime.connection")


Headers = Iterable[tuple[bytes, bytes]]


class Opening(Protocol):
    """A handshake that waits for its answer, however it came."""

    @property
    def scope(self) -> MutableMapping[str, Any]:
        """What the client asked for, as ASGI says it."""

    async def accept(self, subprotocol: str | None, max_unsent: int, headers: Headers = ()) -> Any:
        """Open the connection; gives its socket, which holds at most so many bytes for a client that does not read."""

    async def reject(self, status: int, headers: Headers = ()) -> None:
        """Answer with a status (4xx or 5xx), or as near to it as the server can."""

    def gone(self) -> "asyncio.Future[Any]":
        """A future that is done when the client is gone; cancel it when nobody waits for it any more."""


class WebSocketOpening(Opening, Protocol):
    """The handshake of a WebSocket."""

    @property
    def is_ours(self) -> bool:
        """Whether the server is ours, which leaves to the application which extensions of WebSocket are agreed on."""


Take = Callable[[WebSocketOpening], Coroutine[Any, Any, Any]]


def taker(application: Any, scope: MutableMapping[str, Any]) -> Take | None:
    """How an application takes a WebSocket without ASGI; None where it does not."""
    ask: Callable[[MutableMapping[str, Any]], Take | None] | None = getattr(application, "without_asgi", None)
    return None if ask is None else ask(scope)


class DirectSide:
    """The opening of one connection of our server, until it is adopted or refused."""

    __slots__ = ("_connection", "_end", "_gone", "_key", "scope", "task")

    def __init__(self, connection: WebSocket, key: bytes, scope: MutableMapping[str, Any]) -> None:
        self.scope = scope
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._key = key
        self._gone: asyncio.Future[Any] | None = None
        self._end: dict[str, Any] | None = None  # the event that says so, once the client is gone

    def run(self, take: Take) -> None:
        """Have the application take it."""
        try:
            self.task = begin(take(self))
        except Exception as error:  # noqa: BLE001  whatever it is: the handshake must be answered
            self._failed(error)
        else:
            if self.task is None:
                self._connection.ended()
            else:
                self.task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
        else:
            self._connection.ended()

    def _failed(self, error: BaseException) -> None:
        logger.error("the application of a WebSocket failed", exc_info=error)
        self._connection.ended()

    # What the application asks for

    @property
    def is_ours(self) -> bool:
        return True

    async def accept(self, subprotocol: str | None, max_unsent: int, headers: Headers = ()) -> WebSocket:
        self._connection.max_unsent = max_unsent
        self._connection.accept(self._key, subprotocol, headers)
        return self._connection

    async def reject(self, status: int, headers: Headers = ()) -> None:
        self._connection.reject(handshake.refusal(status, headers))

    def gone(self) -> "asyncio.Future[Any]":
        found = self._gone = asyncio.get_running_loop().create_future()
        if self._end is not None:
            found.set_result(None)
        return found

    # What the connection says

    def put(self, event: dict[str, Any]) -> None:
        """An event as ASGI has them: until somebody adopts the connection there is but its end."""
        self._end = event
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def put_message(self, message: str | bytes) -> None:
        """Never called: who accepts a connection adopts it in the same step."""
        raise RuntimeError("a message for a connection that nobody has adopted")

    def release(self) -> list[dict[str, Any]]:
        """What somebody who adopts it has not been told yet."""
        return [] if self._end is None else [self._end]
