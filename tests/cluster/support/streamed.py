"""Responses that do not end, read raw: HTTP over a socket, chunks, lines and server-sent events."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.cluster.support.processes import PATIENCE


class Event(NamedTuple):
    """One server-sent event."""

    id: str | None
    name: str
    data: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Streamed:
    """One response, as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.retry = 0  # as the last event with it has said
        self._data = b""
        self.ended = False  # in order
        self.replies: list[Any] = []

    async def read_head(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(head[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}

    async def _more(self) -> bool:
        """Read on; False at the end of the body."""
        if self.headers.get("transfer-encoding") == "chunked":
            size = int(await self._reader.readline() or b"0", 16)
            data = await self._reader.readexactly(size + 2)
            self.ended = not size
            self._data += data[:-2]
            return bool(size)
        data = await self._reader.read(65536)
        self.ended = not data
        self._data += data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        """What comes before a mark, which is taken too. Raises EOFError."""
        async with asyncio.timeout(PATIENCE):
            while mark not in self._data:
                if not await self._more():
                    raise EOFError(self._data)
        found, _, self._data = self._data.partition(mark)
        return found

    async def sized(self) -> bytes:
        """The next message behind its length."""
        size = shift = 0
        async with asyncio.timeout(PATIENCE):
            while True:
                byte = (await self._take(1))[0]
                size, shift = size | (byte & 127) << shift, shift + 7
                if byte < 128:
                    return await self._take(size)

    async def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            if not await self._more():
                raise EOFError(self._data)
        found, self._data = self._data[:size], self._data[size:]
        return found

    async def rest(self) -> bytes:
        """Everything up to the end."""
        length = self.headers.get("content-length")
        async with asyncio.timeout(PATIENCE):
            if length is not None:
                return await self._reader.readexactly(int(length))
            while await self._more():
                pass
        found, self._data = self._data, b""
        return found

    async def event(self) -> Event:
        """The next event that has data."""
        while True:
            id, name, data = None, "", []
            for line in (await self.until(b"\n\n")).decode().split("\n"):
                key, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if key == "id":
                    id = value
                elif key == "event":
                    name = value
                elif key == "data":
                    data.append(value)
                elif key == "retry":
                    self.retry = int(value)
            if data:
                return Event(id, name, "\n".join(data))

    async def pub(self) -> Event:
        """The next event with a publication."""
        while True:
            event = await self.event()
            if "pub" in event.json:
                return event

    async def message(self) -> Any:
        """The next object of the protocol that is no ping: a line, or in an event."""
        while not self.replies:
            if "event-stream" in self.headers["content-type"]:
                lines = (await self.event()).data.split("\n")
            else:
                lines = [(await self.until(b"\n")).decode()]
            self.replies += [json.loads(line) for line in lines]
            self.replies = [reply for reply in self.replies if reply]
        return self.replies.pop(0)

    async def find(self, kind: str) -> Any:
        """The next push of a kind, or reply to a method."""
        while True:
            message = await self.message()
            found = message.get("push", message)
            if kind in found:
                return found[kind]


def protobuf_field(number: int, data: bytes) -> bytes:
    """A field of bytes or text."""
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes((size & 127 | 128,)), size >> 7
    return bytes((number << 3 | 2,)) + length + bytes((size,)) + data


def request(method: str, path: str, body: bytes = b"", version: str = "1.1", **headers: str) -> bytes:
    """A request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


@asynccontextmanager
async def asked(port: int, data: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Streamed]:
    """The response to a request, with its head read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22, ssl=tls)
    try:
        writer.write(data)
        made = Streamed(reader, writer)
        async with asyncio.timeout(PATIENCE):
            await made.read_head()
        yield made
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


def lines_of(*commands: Mapping[str, Any]) -> str:
    """Commands as a message."""
    return "\n".join(json.dumps(command) for command in commands)


def http_stream(port: int, *commands: Mapping[str, Any], **headers: str) -> Any:
    """A client by HTTP streaming."""
    headers = {"Content_Type": "application/json"} | headers
    return asked(port, request("POST", "/connection/http_stream", lines_of(*commands).encode(), **headers))


def sse(port: int, *commands: Mapping[str, Any], **headers: str) -> Any:
    """A client by server-sent events."""
    return asked(port, request("GET", f"/connection/sse?cf_connect={quote(lines_of(*commands))}", **headers))


def uni_sse(port: int, query: str, **headers: str) -> Any:
    """A listener."""
    return asked(port, request("GET", f"/connection/uni_sse?{query}", **headers))


async def emulate(port: int, connected: Mapping[str, Any], *commands: Mapping[str, Any], **headers: str) -> int:
    """Say something for a client; gives the status."""
    said = {"session": connected["session"], "node": connected["node"], "data": lines_of(*commands)}
    headers = {"Content_Type": "application/json"} | headers
    async with asked(port, request("POST", "/emulation", json.dumps(said).encode(), **headers)) as answer:
        return answer.status
