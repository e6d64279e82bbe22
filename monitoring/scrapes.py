"""A small HTTP server for `/metrics` alone, in which every resource has a bound, whoever connects.

Each connection has one request and is closed. At most `MAX` are open: the oldest that has not sent a whole request is
closed first; at most `MAX_ANSWERS` of them hold an answer that was not read. A head has `MAX_HEAD` bytes and
`HEAD_WITHIN` seconds, an answer `TAKEN_WITHIN` seconds to be read. Answers are prometheus_client's own, with its
formats and its compression; they have the figures of other processes of the instance that drain.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, NamedTuple

from prometheus_client import REGISTRY, make_wsgi_app

from flotilla.monitoring.figures import Figures, WithOthers
from flotilla.monitoring.readers import Readers

MAX = 256  # connections
MAX_ANSWERS = 16  # connections that have not taken theirs
BACKLOG = 64  # that are accepted in one turn of the loop: so few that a new one is heard before MAX others have come
MAX_HEAD = 8 * 1024  # bytes
HEAD_WITHIN = 5.0  # seconds from the connection to the end of its request's head
TAKEN_WITHIN = 10.0  # seconds in which an answer is to be read
ACCEPTED_WITHIN = 1.0  # seconds in which the loop has made a connection of all that it has accepted
LINGER = 1.0  # seconds in which the client may close after it: what it still sends is thrown away
END = b"\r\n\r\n"
PATH = "/metrics"

Others = Callable[[str], Awaitable[list[Figures]]]
"""Gives the figures of the processes that drain, for who reads them at an address."""


async def nobody(reader: str) -> list[Figures]:
    """There are no other processes."""
    return []


class Answer:
    """A status, headers and a body."""

    def __init__(self, status: HTTPStatus, *headers: tuple[str, str], body: bytes = b"") -> None:
        self.status = f"{status.value} {status.phrase}"
        self.headers = list(headers)
        self.body = body or f"{self.status}\n".encode()

    def wire(self, with_body: bool = True) -> bytes:
        """As it is sent."""
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in self.headers)]
        lines += [f"Content-Length: {len(self.body)}", "Connection: close", "", ""]
        return "\r\n".join(lines).encode("latin-1") + (self.body if with_body else b"")


class Scrapes:
    """The connections that are open, the oldest first: those that say nothing, and those that are answered. `readers`
    notes who was given the metrics."""

    def __init__(self, others: Others = nobody) -> None:
        self.readers = Readers()
        self._listener: socket.socket | None = None
        self._others = others
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()  # the loop alone would not keep them
        self._silent: dict[asyncio.StreamWriter, None] = {}
        self._answered: dict[asyncio.StreamWriter, None] = {}

    async def open(self, listener: socket.socket) -> None:
        """Answer at a listening socket."""
        self._listener = listener
        server = await asyncio.start_server(self.accept, sock=listener, limit=MAX_HEAD, backlog=BACKLOG)
        self._servers.append(server)

    def leave(self) -> socket.socket | None:
        """Accept nobody any more, and give the socket that another process may have; who was accepted is answered."""
        listener, self._listener = self._listener, None
        if listener is None:
            return None
        given, loop = listener.dup(), asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(ACCEPTED_WITHIN, self._servers[-1].close)  # now, it would leave open what it has just accepted
        return given

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a new connection."""
        self._silent[writer] = None
        if len(self._silent) + len(self._answered) > MAX:
            self._drop(next(iter(self._silent)))
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_WITHIN):
                head = await _head(reader)
            if writer in self._silent:
                await self._answer(head, writer)
                await _linger(reader)
        except (OSError, EOFError, TimeoutError):
            pass  # it is gone, or took too long: there is nobody to tell
        finally:
            self._drop(writer)

    async def _answer(self, head: str | None, writer: asyncio.StreamWriter) -> None:
        del self._silent[writer]
        self._answered[writer] = None
        if len(self._answered) > MAX_ANSWERS:
            self._drop(next(iter(self._answered)))
        writer.transport.set_write_buffer_limits(0)  # so that to drain is to be rid of everything
        request = _request(head)
        answer = request.refusal or await self._metrics(request, str((writer.get_extra_info("peername") or ("",))[0]))
        async with asyncio.timeout(TAKEN_WITHIN):
            writer.write(answer.wire(with_body=request.method != "HEAD"))
            writer.write_eof()
            await writer.drain()
        del self._answered[writer]
        self._silent[writer] = None

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._silent.pop(writer, None)
        self._answered.pop(writer, None)
        writer.transport.abort()

    async def _metrics(self, request: "Request", reader: str) -> Answer:
        others = await self._others(reader)
        self.readers.note(reader, time.monotonic())
        return _metrics(request.query, request.headers, others)

    async def end(self) -> None:
        """Accept nobody any more and close all of them, also those that were just being accepted."""
        if (listener := self.leave()) is not None:
            listener.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in [*self._silent, *self._answered]:
                self._drop(writer)
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        for server in self._servers:
            server.close()


async def _head(reader: asyncio.StreamReader) -> str | None:
    """A request's head; None when it is too long."""
    try:
        return (await reader.readuntil(END)).decode("latin-1")
    except asyncio.LimitOverrunError:
        return None


async def _linger(reader: asyncio.StreamReader) -> None:
    """Let the client close: when something is unread at our close, it might lose the answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while await reader.read(MAX_HEAD):
                pass


class Request(NamedTuple):
    """What is asked for; `refusal`: the answer where that is not the metrics."""

    method: str
    query: str = ""
    headers: dict[str, str] = {}
    refusal: Answer | None = None


def _request(head: str | None) -> Request:
    if head is None:
        return Request("", refusal=Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
    request, *lines = head.split("\r\n")
    method, _, rest = request.partition(" ")
    target, _, version = rest.partition(" ")
    path, _, query = target.partition("?")
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        return Request(method, refusal=Answer(HTTPStatus.BAD_REQUEST))
    if path != PATH:
        return Request(method, refusal=Answer(HTTPStatus.NOT_FOUND))
    if method not in ("GET", "HEAD"):
        return Request(method, refusal=Answer(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD")))
    return Request(method, query, _headers(lines))


def _headers(lines: list[str]) -> dict[str, str]:
    """By small name, the values of several joined."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.lower()
        found[name] = f"{found[name]},{value.strip()}" if name in found else value.strip()
    return found


def _metrics(query: str, headers: dict[str, str], others: list[Figures]) -> Answer:
    """What prometheus_client answers."""
    found: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        found.append((status, headers))

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": PATH, "QUERY_STRING": query}
    for name in ("accept", "accept-encoding"):
        if name in headers:
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = headers[name]
    registry: Any = WithOthers(REGISTRY, others) if others else REGISTRY
    body = b"".join(make_wsgi_app(registry)(environ, start))
    ((status, given),) = found
    return Answer(HTTPStatus(int(status[:3])), *given, body=body)
