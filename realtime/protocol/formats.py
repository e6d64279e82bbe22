"""Formats: an encoding, and what its messages are framed in on their way to a client.

A format makes frames whose bytes go to a socket as they are, so one frame serves all clients that are spoken to alike.
"""

from collections.abc import Sequence
from typing import Protocol

from flotilla.realtime.protocol.deflate import deflater
from flotilla.realtime.protocol.encodings import JSON, Encoding
from flotilla.realtime.protocol.frames import BINARY, TEXT, DeflatedFrame, Frame
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF


class Format(Protocol):
    """How a client is spoken to. One object for each kind: they are compared by identity."""

    encoding: Encoding
    ping: Frame

    def frame(self, payloads: Sequence[bytes]) -> Frame:
        """Messages of the encoding (at least one) as one frame."""


class WebSocketFormat:
    """A WebSocket message, of text or binary."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self._opcode = BINARY if encoding.binary else TEXT
        self.ping = self.frame((encoding.ping,))

    def frame(self, payloads: Sequence[bytes]) -> Frame:
        return Frame(self.encoding.joined(payloads), self._opcode)


WEBSOCKET_JSON = WebSocketFormat(JSON)
WEBSOCKET_PROTOBUF = WebSocketFormat(PROTOBUF)


class DeflatedFormat:
    """A WebSocket message for who agreed on permessage-deflate: compressed from `least` bytes on, where it helps."""

    def __init__(self, encoding: Encoding, window_bits: int, least: int) -> None:
        self.encoding = encoding
        self._opcode = BINARY if encoding.binary else TEXT
        self._least = least
        self._deflate = deflater(window_bits).deflate
        self.ping = Frame(encoding.joined((encoding.ping,)), self._opcode)  # never compressed

    def frame(self, payloads: Sequence[bytes]) -> Frame:
        payload = self.encoding.joined(payloads)
        if len(payload) >= self._least and len(compressed := self._deflate(payload)) < len(payload):
            return DeflatedFrame(payload, compressed, self._opcode)
        return Frame(payload, self._opcode)


_deflated: dict[tuple[Encoding, int, int], DeflatedFormat] = {}


def deflated(encoding: Encoding, window_bits: int, least: int) -> DeflatedFormat:
    """The one format for all whose agreement is the same."""
    key = encoding, window_bits, least
    if key not in _deflated:
        _deflated[key] = DeflatedFormat(*key)
    return _deflated[key]
