"""What a client sends over an open WebSocket, taken apart (RFC 6455, section 5), sans-I/O.

Nearly every message there is comes as a frame in one piece, alone or with others: `flotilla.speedups.first_text` (or
`first_binary`) takes it, and `whole_ping` a ping. Everything else (parts of a frame, fragments, a close) goes through a
`Reader`, which is needed only while something is incomplete. All bound what they keep by the size a message may have,
which is known before its bytes are; a reader takes no more frames than it is told to (`left`), for one that carries
nothing costs as much as any other.

A reader that `inflates` takes compressed messages, too (RFC 7692). The bound is that of what they become; how much it
was is counted (`inflated`), and a turn ends when it was much (`MAX_INFLATED`): a few bytes may cost as much as many.
"""

import sys
from enum import IntEnum
from typing import NamedTuple

from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.realtime.protocol.deflate import RSV1, Broken, TooBig, inflate
from flotilla.speedups import unmask

MASKED = 0x80
FIN = 0x80
FIN_TEXT = 0x81
FIN_BINARY = 0x82
FIN_PING = 0x89
FIN_PONG = 0x8A
MAX_CONTROL = 125  # bytes in a control frame
MAX_INFLATED = 256 * 1024  # bytes that messages of one turn become

_PROTOCOL_ERROR, _INVALID_TEXT = 1002, 1007  # RFC 6455, 7.4.1; not codes of our own protocol


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_CONTINUATION, _CLOSE = Opcode.CONTINUATION, Opcode.CLOSE  # looked at for every frame
_OPCODES = {int(opcode): opcode for opcode in Opcode}
_BY_FIRST_BYTE = tuple(None if first & 0x70 else _OPCODES.get(first & 0x0F) for first in range(256))
_COMPRESSED = {bits | opcode: opcode for bits in (RSV1, FIN | RSV1) for opcode in (Opcode.TEXT, Opcode.BINARY)}


class Message(NamedTuple):
    """A whole message or control frame, unmasked."""

    opcode: Opcode
    payload: bytes


class Violation(Exception):
    """Against the rules: the connection is closed with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def whole_ping(data: bytes) -> bytes | None:
    """The payload when `data` is exactly one masked ping or pong; None for all else."""
    size = len(data) - 6
    if not 0 <= size <= MAX_CONTROL or (data[0] != FIN_PING and data[0] != FIN_PONG) or data[1] != MASKED + size:
        return None
    return unmask(data[6:], data[2:6])


def text(payload: bytes) -> str:
    """A text message. Raises Violation when it is not UTF-8."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Violation(_INVALID_TEXT, "text that is not UTF-8") from None


def close_code(payload: bytes) -> int:
    """The code of a close frame; 1005 when it has none. Raises Violation."""
    if not payload:
        return 1005
    if len(payload) == 1:
        raise Violation(_PROTOCOL_ERROR, "a close code of one byte")
    code = int.from_bytes(payload[:2], "big")
    if not can_be_sent(code):
        raise Violation(_PROTOCOL_ERROR, "a close code that cannot be sent")
    text(payload[2:])
    return code


def can_be_sent(code: int) -> bool:
    """Whether a close frame may carry a code: those of RFC 6455 and its registry, of libraries and of applications."""
    return 3000 <= code < 5000 or (1000 <= code < 1015 and code not in (1004, 1005, 1006))


class Reader:
    """Takes bytes as they come, gives messages as they become whole."""

    __slots__ = ("_buffer", "_opcode", "_parts", "_rsv1", "_start", "inflated", "inflates", "left", "most", "unseen")

    def __init__(self, most: int, inflates: bool = False) -> None:
        self.most = most  # bytes of a message
        self.inflates = inflates  # permessage-deflate was agreed on
        self.inflated = 0  # bytes that compressed messages became, since whoever reads has counted them
        self._buffer = bytearray()
        self._start = 0  # of what was not taken yet in the buffer
        self._parts = bytearray()  # of the message that is in fragments: one buffer, however many they are
        self._opcode = _CONTINUATION  # of that message
        self._rsv1 = 0  # whether that message is compressed
        self.unseen = 0  # frames of which applications see nothing: control frames, fragments of next to nothing
        self.left = sys.maxsize  # frames that may still be taken: whoever reads in turns sets it for each

    @property
    def idle(self) -> bool:
        """Whether nothing is incomplete."""
        return self._start == len(self._buffer) and self._opcode is _CONTINUATION

    @property
    def full(self) -> bool:
        """Whether it has taken as much as it may in this turn."""
        return self.left <= 0 or self.inflated >= MAX_INFLATED

    @property
    def waiting(self) -> int:
        """Bytes that are kept: those that were not taken yet, and those of fragments."""
        return len(self._buffer) - self._start + len(self._parts)

    def feed(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next(self) -> Message | None:
        """The next whole message, as long as frames are `left`. Raises Violation; nothing can be read after that."""
        while self.left > 0 and self.inflated < MAX_INFLATED and (frame := self._frame()) is not None:
            self.left -= 1
            first, opcode, payload = frame
            final = first & FIN
            if opcode >= _CLOSE:
                self.unseen += 1
                return Message(opcode, payload)
            if not final and len(payload) <= MAX_CONTROL:
                self.unseen += 1
            if opcode is not _CONTINUATION:
                if final:
                    return Message(opcode, self._inflated(payload) if first & RSV1 else payload)
                self._opcode, self._rsv1 = opcode, first & RSV1
            self._parts += payload
            if final:
                return self._joined()
        return None

    def _joined(self) -> Message:
        payload, opcode = bytes(self._parts), self._opcode
        self._parts, self._opcode = bytearray(), _CONTINUATION
        return Message(opcode, self._inflated(payload) if self._rsv1 else payload)

    def _inflated(self, payload: bytes) -> bytes:
        try:
            message = inflate(payload, self.most)
        except TooBig:
            raise Violation(DisconnectCode.MESSAGE_TOO_BIG, "message too big when inflated") from None
        except Broken as error:
            raise Violation(_INVALID_TEXT, f"a message that cannot be inflated: {error}") from None
        self.inflated += len(message)
        return message

    def _frame(self) -> tuple[int, Opcode, bytes] | None:
        """The next frame: its first byte, what it is, its payload; None until it is whole."""
        buffer, start = self._buffer, self._start
        size = len(buffer)
        if size < start + 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        opcode, length = self._checked(first, second), second & 0x7F
        start += 2
        if length > MAX_CONTROL:
            behind = start + (2 if length == 126 else 8)
            if size < behind:
                return None
            length = _long(buffer[start:behind])
            start = behind
        if opcode < _CLOSE and len(self._parts) + length > self.most:
            raise Violation(DisconnectCode.MESSAGE_TOO_BIG, "message too big")
        end = start + 4 + length
        if size < end:
            return None
        payload = unmask(buffer[start + 4 : end], buffer[start : start + 4]) if length else b""
        if end == size:
            buffer.clear()
            end = 0
        self._start = end
        return first, opcode, payload

    def _checked(self, first: int, second: int) -> Opcode:
        opcode = _BY_FIRST_BYTE[first]
        if opcode is None and self.inflates:
            opcode = _COMPRESSED.get(first)
        if opcode is None:
            raise Violation(_PROTOCOL_ERROR, "an extension that was not agreed on")
        if not second & MASKED:
            raise Violation(_PROTOCOL_ERROR, "a frame that is not masked")
        if opcode >= _CLOSE:
            if not first & FIN or second & 0x7F > MAX_CONTROL:
                raise Violation(_PROTOCOL_ERROR, "a control frame that is fragmented or too long")
        elif (opcode is _CONTINUATION) is (self._opcode is _CONTINUATION):
            raise Violation(_PROTOCOL_ERROR, "a fragment out of order")
        return opcode


def _long(field: bytearray) -> int:
    """A length that has two or eight bytes of its own. Raises Violation."""
    length = int.from_bytes(field, "big")
    if length < (126 if len(field) == 2 else 1 << 16) or length >> 63:
        raise Violation(_PROTOCOL_ERROR, "a length that is not in its shortest form")
    return length
