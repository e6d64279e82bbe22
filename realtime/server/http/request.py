"""One request's ASGI side: its application's task, the body on its way in, the response on its way out.

What waits is bounded on both sides: of the body at most `MAX_HELD` bytes and one reading, then nothing more is read
from the client; of the response what the transport takes, then `send` waits. A response leaves whole or is cut off,
so that no part of one ever looks like all of it.
"""

import asyncio
import logging
import time
from typing import Any, Protocol

from flotilla.realtime.protocol.streams import LAST_CHUNK
from flotilla.realtime.server.head import Head, Refused
from flotilla.realtime.server.http.body import Body
from flotilla.realtime.server.http.response import Response
from flotilla.realtime.server.response_stream import ResponseStream

logger = logging.getLogger("flotilla.realtime.http")

MAX_HELD = 256 * 1024  # bytes of a body that the application has not taken
MAX_IGNORED = 100  # parts of a response that an application sends when it is over
PIECE = 64 * 1024  # bytes of a response that are written at once
ENDS_WITHIN = 0.02  # seconds that an application has to end by itself when its response is complete
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
DISCONNECT = {"type": "http.disconnect"}


class RequestConnection(Protocol):
    """What a request needs of the connection that it came on."""

    @property
    def server_name(self) -> bytes:
        """What responses say of the server; b"" for nothing."""

    def may_stay_open(self, body: Body) -> bool:
        """Whether another request may follow one with such a body."""

    def write(self, data: bytes) -> None:
        """Write behind what waits."""

    async def has_room(self) -> None:
        """Wait until the client has taken enough of what was written."""

    def become_stream(self, request: "Request", head: bytes, last: bytes) -> ResponseStream | None:
        """The response has no end and takes the connection over."""

    def read_on(self) -> None:
        """Whoever was to take what was read has taken it."""

    def answered(self, request: "Request") -> None:
        """The response is complete."""

    def application_ended(self, request: "Request", *, unfinished: bool) -> None:
        """Its task is over; `unfinished`: before the response was complete, with the client still there."""


class Request:
    """Runs an application for one request of a connection."""

    __slots__ = ("__weakref__", "_body", "_connection", "_flushing", "_given", "_held", "_ignored", "_news", "_over",
                 "_pieces", "_says_continue", "_telling", "_waits", "began", "head", "over_since", "received",
                 "response", "since", "task")  # fmt: skip

    def __init__(self, connection: RequestConnection, head: Head, body: Body) -> None:
        self.head = head
        self.task: asyncio.Task[None] | None = None
        self.response = Response(head_only=head.method == b"HEAD", chunks=head.version == "1.1", keep=head.keeps_alive)
        self.began = self.since = time.monotonic()  # since: when the application had all that it waits for
        self.received = 0  # bytes of the body as it came
        self.over_since = 0.0
        self._connection: RequestConnection | None = connection
        self._body = body
        self._pieces: list[bytes] = []
        self._held = 0
        self._given = False  # the application has the whole body
        self._says_continue = head.expects_continue and not body.done
        self._news: asyncio.Event | None = None
        self._waits = 0  # calls of `receive` that wait
        self._flushing: asyncio.Handle | None = None
        self._telling: asyncio.Handle | None = None
        self._over = False
        self._ignored = 0  # parts that were sent when it was over

    def run(self, application: Any, scope: dict[str, Any]) -> None:
        """Start the application."""
        self.task = asyncio.ensure_future(application(scope, self.receive, self.send))
        self.task.add_done_callback(self._done)

    # The body

    @property
    def has_whole_body(self) -> bool:
        """Whether all of it has come."""
        return self._body.done

    @property
    def waits_for_client(self) -> bool:
        """Whether the application waits for bytes that have not come."""
        return self._waits > 0 and not self._body.done

    @property
    def is_over(self) -> bool:
        """Whether nothing more is sent."""
        return self._over

    def feed(self, data: bytes) -> None:
        """Bytes of the body, and what follows it. Raises Refused."""
        piece = self._body.feed(data)
        self.received += len(data)
        if self._body.done:
            self.since = time.monotonic()
        if not self._over and piece:
            self._pieces.append(piece)
            self._held += len(piece)
        self._says_continue = False
        self._wake()

    def take_rest(self) -> bytes:
        """What came behind the body."""
        rest, self._body.rest = self._body.rest, b""
        return rest

    @property
    def is_full(self) -> bool:
        """Whether the application should take something before more is read."""
        return self._held > MAX_HELD

    async def receive(self) -> dict[str, Any]:
        """ASGI's receive: the body in pieces, then the disconnect when the client is gone or the response complete."""
        while True:
            if self._over or self._connection is None:
                return dict(DISCONNECT)
            if not self._given and (self._pieces or self._body.done):
                return self._give()
            if self._says_continue and not self.response.started:
                self._says_continue = False
                self._connection.write(CONTINUE)
            await self._wait()

    def _give(self) -> dict[str, Any]:
        pieces, self._pieces = self._pieces, []
        self._held = 0
        self._given = self._body.done
        self.since = time.monotonic()
        if self._connection is not None and not self._given:
            self._connection.read_on()
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return {"type": "http.request", "body": body, "more_body": not self._given}

    async def _wait(self) -> None:
        if self._news is None:
            self._news = asyncio.Event()
        self._news.clear()
        self._waits += 1
        try:
            await self._news.wait()
        finally:
            self._waits -= 1

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()

    # The response

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI's send. Waits while the client does not take what was sent. Raises ValueError for what ASGI forbids."""
        kind = message["type"]
        if self._over or self._connection is None:
            await self._ignore()
        elif kind == "http.response.start":
            self._start(self._connection, message)
        elif kind == "http.response.body":
            await self._send_body(self._connection, message.get("body", b""), bool(message.get("more_body")))
        else:
            raise ValueError(f"unexpected ASGI message {kind!r}")

    @property
    def knows_chunks(self) -> bool:
        """Whether the client understands a body in chunks."""
        return self.head.version == "1.1"

    def stream(self, status: int, headers: Any) -> ResponseStream | None:
        """Begin a response that has no end, in place of `send`: its body is what is sent to the stream, as chunks where
        the client knows them. From then on the application has no part in it. None when the client is gone."""
        if self._over or self._connection is None or self.response.started:
            return None
        self.response.keep = False
        self.response.start(status, headers, self._connection.server_name)
        chunks = LAST_CHUNK if self.knows_chunks else b""
        return self._connection.become_stream(self, self.response.flush(), chunks)

    async def _ignore(self) -> None:
        """Nobody takes it. An application that goes on and on holds nobody up, and is cancelled."""
        self._ignored += 1
        if self._ignored > MAX_IGNORED and self.task is not None:
            self.task.cancel()
        await asyncio.sleep(0)

    def _start(self, connection: RequestConnection, message: dict[str, Any]) -> None:
        self.response.start(message["status"], message.get("headers") or (), connection.server_name)
        if self._says_continue or not connection.may_stay_open(self._body):
            self.response.keep = False
        self._flushing = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """The body did not come at once: the client shall know what is known."""
        self._flushing = None
        if not self._over and self._connection is not None:
            self._connection.write(self.response.flush())

    async def _send_body(self, connection: RequestConnection, data: bytes, more: bool) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if len(data) <= PIECE:
            connection.write(self.response.body(bytes(data), more))
        else:
            await self._send_pieces(connection, data, more)
        if self._over:
            return
        if self.response.complete:
            self._complete(connection)
        else:
            await connection.has_room()

    async def _send_pieces(self, connection: RequestConnection, data: bytes, more: bool) -> None:
        """A large part of a body, no faster than it is taken."""
        if not more:
            self.response.whole(len(data))
        view = memoryview(data)
        for at in range(0, len(data), PIECE):
            last = at + PIECE >= len(data)
            connection.write(self.response.body(bytes(view[at : at + PIECE]), more or not last))
            if self.response.complete:
                return
            await connection.has_room()
            if self._over:
                return

    def _complete(self, connection: RequestConnection) -> None:
        """Whoever waits for the disconnect beside what has answered is told a little later, unless all of it has ended:
        Django's handler would keep each response in a cycle with the exception that it makes of that."""
        self._finish()
        if self._waits:
            self._telling = asyncio.get_running_loop().call_later(ENDS_WITHIN, self._wake)
        connection.answered(self)

    def end(self) -> None:
        """Nothing more is sent, and the application hears of it: it is refused, or its client is gone."""
        if not self._over:
            self._finish()
            self._wake()

    def _finish(self) -> None:
        self._over = True
        self.over_since = time.monotonic()
        self._pieces, self._held = [], 0
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None

    # The end of the application

    def _done(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("the application of a request failed: %r", error, exc_info=error)
        connection, over = self._connection, self._over
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self.end()
        self.task = None
        self._connection = None  # neither holds the other any longer
        if connection is not None:
            connection.application_ended(self, unfinished=not over)


def internal_error() -> Refused:
    """What a client is told of an application's failure: nothing."""
    return Refused(500, "Internal Server Error")
