"""A WebSocket connection made by hand, and a token: nothing of the product's, nothing of any SDK.

A `Wire` hands on each text message and, once, how it ended. What a server may not do (masked frames, broken ones) ends
it. It can stop reading, as a client that hangs does.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import socket
from collections.abc import Callable
from typing import Any

CONTINUATION, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10
ABNORMAL = 1006
OPEN_WITHIN = 5.0  # seconds

Place = int | tuple[str, int]  # a port of this machine, or (host, port)


def address(place: Place) -> tuple[str, int]:
    """(host, port) of a place."""
    return ("127.0.0.1", place) if isinstance(place, int) else place


def token(secret: str, user: str, **claims: Any) -> str:
    """A connection token (HS256)."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    head = encoded(b'{"alg":"HS256","typ":"JWT"}')
    body = encoded(json.dumps({"sub": user} | claims).encode())
    mac = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{encoded(mac)}"


class Wire(asyncio.Protocol):
    """One connection: `on_text` is called with each message, `on_end` once with the close code."""

    def __init__(self, place: Place, on_text: Callable[[bytes], None], on_end: Callable[[int], None]) -> None:
        self._place = place
        self._on_text = on_text
        self._on_end = on_end
        self._buffer = bytearray()
        self._parts = bytearray()
        self._code = ABNORMAL
        self.heard = 0.0  # when the last byte came, by the loop's clock
        self.transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())  # seen, if not awaited

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        host, port = address(self._place)
        transport.write(
            f"GET /connection/websocket HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def send(self, *commands: dict[str, Any]) -> None:
        """Send commands in one message; nothing where the connection is on its way out."""
        if self.transport is not None and not self.transport.is_closing():
            self._frame(TEXT, "\n".join(json.dumps(command) for command in commands).encode())

    def close(self, code: int = 1000) -> None:
        """End it in order."""
        if self.transport is not None and not self.transport.is_closing():
            self._code = 0
            self._frame(CLOSE, code.to_bytes(2))
            self.transport.close()

    def abort(self, code: int = ABNORMAL) -> None:
        """Lose it without a word."""
        if self.transport is not None:
            self._code = code
            self.transport.abort()

    @property
    def closing(self) -> bool:
        """Whether it is on its way out."""
        return self.transport is None or self.transport.is_closing()

    def stop_reading(self) -> None:
        """Read nothing more."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def _frame(self, kind: int, payload: bytes) -> None:
        size, mask = len(payload), os.urandom(4)
        head = bytes([0x80 | kind])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 1 << 16:
            head += b"\xfe" + size.to_bytes(2)
        else:
            head += b"\xff" + size.to_bytes(8)
        pad = int.from_bytes((mask * (size // 4 + 1))[:size])
        masked = (int.from_bytes(payload) ^ pad).to_bytes(size) if size else b""
        assert self.transport is not None
        self.transport.write(head + mask + masked)

    def data_received(self, data: bytes) -> None:
        self.heard = asyncio.get_running_loop().time()
        self._buffer += data
        if not self.opened.done():
            self._handshake()
        if not self._is_open:
            return
        while (frame := self._next()) is not None:
            self._take(*frame)

    @property
    def _is_open(self) -> bool:
        return self.opened.done() and not self.opened.cancelled() and self.opened.exception() is None

    def _handshake(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        status = bytes(self._buffer[: self._buffer.find(b"\r\n")])
        del self._buffer[: end + 4]
        if b" 101 " in status:
            self.opened.set_result(None)
            return
        self.opened.set_exception(ConnectionRefusedError(status.decode(errors="replace")))
        self.abort()

    def _next(self) -> tuple[int, bool, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1], 2
        if size & 0x80 or buffer[0] & 0x70:
            raise ValueError(f"a server may not send a frame that begins with {bytes(buffer[:2])!r}")
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start])
        if len(buffer) < start + size:
            return None
        kind, payload = buffer[0], bytes(buffer[start : start + size])
        del buffer[: start + size]
        return kind & 0x0F, bool(kind & 0x80), payload

    def _take(self, kind: int, final: bool, payload: bytes) -> None:
        if kind in (TEXT, CONTINUATION):
            self._parts += payload
            if final:
                text, self._parts = bytes(self._parts), bytearray()
                self._on_text(text)
        elif kind == PING and self.transport is not None and not self.transport.is_closing():
            self._frame(PONG, payload)
        elif kind == CLOSE and self.transport is not None and not self.transport.is_closing():
            self._code = int.from_bytes(payload[:2]) if payload else 1005
            self._frame(CLOSE, payload[:2])
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionResetError("closed before the handshake was answered"))
        elif self._is_open:
            self._on_end(self._code)


async def open_wire(
    place: Place, on_text: Callable[[bytes], None], on_end: Callable[[int], None], receive_buffer: int = 0
) -> Wire:
    """Connect. Raises OSError, TimeoutError; then `on_end` is not called."""
    loop = asyncio.get_running_loop()
    plain = socket.socket()
    plain.setblocking(False)
    wire: Wire | None = None
    try:
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        async with asyncio.timeout(OPEN_WITHIN):
            await loop.sock_connect(plain, address(place))
            _, wire = await loop.create_connection(lambda: Wire(place, on_text, on_end), sock=plain)
            await wire.opened
            return wire
    except BaseException:
        if wire is not None:
            wire.opened.cancel()
            wire.abort()
        plain.close()
        raise
