"""A small HTTP server for `/metrics` alone, in which every resource has a bound, whoever connects.

Each connection has one request and is closed. At most `MAX` are open: the oldest that has not sent a whole request is
closed first; at most `MAX_ANSWERS` of them hold an answer that was not read. A head has `MAX_HEAD` bytes and
`HEAD_WITHIN` seconds, an answer `TAKEN_WITHIN` seconds to be read. Answers are prometheus_client's own, with its
formats and its compression.
"""

import asyncio
import contextlib
import socket
from http import HTTPStatus
from typing import Any

from prometheus_client import make_wsgi_app

MAX = 256  # connections
MAX_ANSWERS = 16  # connections that have not taken theirs
BACKLOG = 64  # that are accepted in one turn of the loop: so few that a new one is heard before MAX others have come
MAX_HEAD = 8 * 1024  # bytes
HEAD_WITHIN = 5.0  # seconds from the connection to the end of its request's head
TAKEN_WITHIN = 10.0  # seconds in which an answer is to be read
LINGER = 1.0  # seconds in which the client may close after it: what it still sends is thrown away
END = b"\r\n\r\n"
PATH = "/metrics"

_answer = make_wsgi_app()


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


async def serve(listener: socket.socket, stop: asyncio.Event) -> None:
    """Answer at a listening socket until told to stop; then it and every connection are closed."""
    scrapes = Scrapes()
    server = await asyncio.start_server(scrapes.accept, sock=listener, limit=MAX_HEAD, backlog=BACKLOG)
    try:
        await stop.wait()
    finally:
        asyncio.get_running_loop().remove_reader(listener)  # closed now, it would leave open what it has just accepted
        await scrapes.end()
        server.close()


class Scrapes:
    """The connections that are open, the oldest first: those that say nothing, and those that are answered."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()  # the loop alone would not keep them
        self._silent: dict[asyncio.StreamWriter, None] = {}
        self._answered: dict[asyncio.StreamWriter, None] = {}

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
        async with asyncio.timeout(TAKEN_WITHIN):
            writer.write(_response(head))
            writer.write_eof()
            await writer.drain()
        del self._answered[writer]
        self._silent[writer] = None

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._silent.pop(writer, None)
        self._answered.pop(writer, None)
        writer.transport.abort()

    async def end(self) -> None:
        """Close all of them, also those that were just being accepted."""
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in [*self._silent, *self._answered]:
                self._drop(writer)
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)


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


def _response(head: str | None) -> bytes:
    """The response to a request."""
    if head is None:
        return Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE).wire()
    request, *lines = head.split("\r\n")
    method, _, rest = request.partition(" ")
    target, _, version = rest.partition(" ")
    path, _, query = target.partition("?")
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        answer = Answer(HTTPStatus.BAD_REQUEST)
    elif path != PATH:
        answer = Answer(HTTPStatus.NOT_FOUND)
    elif method not in ("GET", "HEAD"):
        answer = Answer(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD"))
    else:
        answer = _metrics(query, _headers(lines))
    return answer.wire(with_body=method != "HEAD")


def _headers(lines: list[str]) -> dict[str, str]:
    """By small name, the values of several joined."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.lower()
        found[name] = f"{found[name]},{value.strip()}" if name in found else value.strip()
    return found


def _metrics(query: str, headers: dict[str, str]) -> Answer:
    """What prometheus_client answers."""
    found: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        found.append((status, headers))

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": PATH, "QUERY_STRING": query}
    for name in ("accept", "accept-encoding"):
        if name in headers:
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = headers[name]
    body = b"".join(_answer(environ, start))
    ((status, given),) = found
    return Answer(HTTPStatus(int(status[:3])), *given, body=body)
