"""A WebSocket client that costs little: thousands of them in one process measure the servers and not themselves.

Speaks just what the servers say: whole text and close frames, never masked. `LightClient` is one connection; it is told
what came by two calls and keeps nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

CLOSE, PING, TEXT = 8, 9, 1
NO_MASK = b"\0\0\0\0"  # a client must mask; with zeros the payload stays as it is
ABNORMAL = 1006


class Refused(OSError):
    """The handshake was answered with something else than 101."""


class LightClient(asyncio.Protocol):
    """One connection: `on_text` is called with each message, `on_end` once with the close code."""

    def __init__(
        self,
        host: str,
        path: str,
        on_text: Callable[[str], None],
        on_end: Callable[[int], None],
        headers: Sequence[str] = (),
    ) -> None:
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            + "".join(f"{header}\r\n" for header in headers)
            + "\r\n"
        )
        self._on_text = on_text
        self._on_end = on_end
        self._buffer = b""
        self._code = ABNORMAL
        self.transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request.encode())

    def send(self, text: str) -> None:
        """Send one message of up to 64 KiB."""
        assert self.transport is not None
        payload = text.encode()
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
        self.transport.write(b"\x81" + size + NO_MASK + payload)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.opened.done():
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self.opened.set_exception(Refused(head.decode(errors="replace")))
                self.abort()
                return
            self._buffer = rest
            self.opened.set_result(None)
        while (frame := self._next()) is not None:
            self._take(*frame)

    def _next(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start])
        if len(buffer) < start + size:
            return None
        self._buffer = buffer[start + size :]
        return buffer[0] & 0x0F, buffer[start : start + size]

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == TEXT:
            self._on_text(payload.decode())
        elif kind == CLOSE and self.transport is not None:
            self._code = int.from_bytes(payload[:2])
            self.transport.write(b"\x88\x82" + NO_MASK + payload[:2])
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionResetError("closed before the handshake was answered"))
            return
        self._on_end(self._code)

    def abort(self) -> None:
        """Lose the connection without a word."""
        if self.transport is not None:
            self.transport.abort()


async def open_light(url: str, on_text: Callable[[str], None], on_end: Callable[[int], None]) -> LightClient:
    """Connect. Raises OSError, TimeoutError."""
    parts = urlsplit(url)
    assert parts.hostname
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        _, client = await loop.create_connection(
            lambda: LightClient(parts.netloc, parts.path, on_text, on_end), parts.hostname, parts.port
        )
        try:
            await client.opened
        except BaseException:
            client.abort()
            raise
    return client
