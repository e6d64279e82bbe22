"""A message as it goes onto the wire: built once, written to many sockets.

The WebSocket header (RFC 6455, section 5.2) of an unmasked, unfragmented text message is at most ten bytes.
"""

from typing import Protocol

TEXT = 0x81  # FIN, opcode 1


class Frame:
    """One outgoing message: `payload` (UTF-8 JSON), and `wire`, the same with its WebSocket header."""

    __slots__ = ("_text", "payload", "wire")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.wire = header(len(payload)) + payload
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The payload for servers that do their own framing."""
        if self._text is None:
            self._text = self.payload.decode()
        return self._text


class Outlet(Protocol):
    """Where a connection's frames go."""

    def send(self, frame: Frame) -> None:
        """Take a frame, in order. Never blocks, never raises, never calls back before it returns."""


def header(length: int) -> bytes:
    """The header of a text frame of `length` bytes."""
    if length < 126:
        return bytes((TEXT, length))
    if length < 1 << 16:
        return bytes((TEXT, 126)) + length.to_bytes(2, "big")
    return bytes((TEXT, 127)) + length.to_bytes(8, "big")
