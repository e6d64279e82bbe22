"""A message as it goes onto the wire: built once, written to many sockets.

A server's frames are unmasked and, here, unfragmented (`flotilla.speedups.framed`).
"""

from collections.abc import Iterable
from copy import copy
from typing import Protocol

from flotilla.realtime.protocol.deflate import RSV1
from flotilla.speedups import framed, send_to_all

TEXT = 1
BINARY = 2
CLOSE = 8
MAX_REASON = 123  # bytes of a close frame's reason


class Frame:
    """One outgoing message: `payload` (of text: UTF-8), and `wire`, the same with its WebSocket header."""

    __slots__ = ("_text", "opcode", "payload", "wire")

    def __init__(self, payload: bytes, opcode: int = TEXT) -> None:
        self.payload = payload
        self.opcode = opcode
        self.wire = framed(opcode, payload)
        self._text: str | None = None

    @property
    def content(self) -> bytes:
        """The messages in it, as their encoding joins them: for who looks on."""
        return self.payload

    @property
    def text(self) -> str:
        """The payload for servers that do their own framing."""
        if self._text is None:
            self._text = self.payload.decode()
        return self._text

    def rest(self, sent: int) -> "Frame":
        """What is left to send where the first bytes of `wire` were sent already."""
        rest = copy(self)
        rest.wire = self.wire[sent:]
        return rest


class DeflatedFrame(Frame):
    """An outgoing message that goes compressed over the wire: `compressed` instead of its payload (RFC 7692, 6)."""

    __slots__ = ()

    def __init__(self, payload: bytes, compressed: bytes, opcode: int = TEXT) -> None:
        self.payload = payload
        self.opcode = opcode
        wire = framed(opcode, compressed)
        self.wire = bytes((wire[0] | RSV1,)) + wire[1:]
        self._text = None


class Wire:
    """Bytes that go onto the wire as they are, in the place of a frame."""

    __slots__ = ("wire",)

    def __init__(self, wire: bytes) -> None:
        self.wire = wire


class Outlet(Protocol):
    """Where a connection's frames go."""

    @property
    def descriptor(self) -> int:
        """The descriptor of its socket while frames can be sent there directly, as nothing waits before them; else -1.
        Who does that hands what was not taken to `send` before anything else is sent."""

    @property
    def waiting(self) -> int:
        """Bytes that were sent and that the client has not taken, as far as this can be known here."""

    def send(self, frame: Frame) -> None:
        """Take a frame, in order. Never blocks, never raises, never calls back before it returns."""


def send_each(outlets: Iterable[Outlet], frame: Frame) -> list[Outlet]:
    """Send a frame to many, as each one's `send` would. Gives those whose socket did not take all of it at once."""
    left = send_to_all(outlets, frame.wire)
    for outlet, sent in left:
        outlet.send(frame.rest(sent) if sent else frame)
    return [outlet for outlet, _ in left]


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; a reason that is too long is cut between characters."""
    payload = code.to_bytes(2, "big") + reason.encode()[:MAX_REASON].decode(errors="ignore").encode()
    return framed(CLOSE, payload)
