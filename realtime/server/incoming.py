"""What a client sends over an open WebSocket, taken apart (RFC 6455, section 5), sans-I/O.

`whole_text` is for nearly every message there is: one frame in one piece. Everything else (several frames, parts of
one, fragments, control frames) goes through a `Reader`, which is needed only while something is incomplete. Both bound
what they keep by the size a message may have, which is known before its bytes are.
"""

from dataclasses import dataclass
from enum import IntEnum

from realtime.protocol.codes import DisconnectCode

MASKED = 0x80
FIN = 0x80
FIN_TEXT = 0x81
MOST_CONTROL = 125  # bytes in a control frame

_PROTOCOL_ERROR, _INVALID_TEXT = 1002, 1007  # RFC 6455, 7.4.1; not codes of our own protocol


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_OPCODES = {int(opcode): opcode for opcode in Opcode}


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message or control frame, unmasked."""

    opcode: Opcode
    payload: bytes


class Violation(Exception):
    """Against the rules: the connection is closed with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def unmask(payload: bytes, mask: bytes) -> bytes:
    """The payload as it was before it was masked, or the other way round."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def whole_text(data: bytes, most: int) -> bytes | None:
    """The payload when `data` is exactly one unfragmented, masked text frame below 64 KiB; None for all else."""
    size = len(data)
    if size < 6 or data[0] != FIN_TEXT:
        return None
    length = data[1] - MASKED
    if 0 <= length < 126:
        start = 2
    elif length == 126 and size >= 8:
        start, length = 4, int.from_bytes(data[2:4], "big")
        if length < 126:
            return None
    else:
        return None
    if size != start + 4 + length or length > most:
        return None
    return unmask(data[start + 4 :], data[start : start + 4])


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

    __slots__ = ("_buffer", "_fragments", "_most", "_opcode", "_size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = bytearray()
        self._fragments: list[bytes] = []
        self._opcode = Opcode.CONTINUATION  # of the message that is in fragments
        self._size = 0  # of its fragments

    @property
    def idle(self) -> bool:
        """Whether nothing is incomplete."""
        return not self._buffer and self._opcode is Opcode.CONTINUATION

    @property
    def waiting(self) -> int:
        """Bytes that were not given yet, but for those of fragments."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Bytes have arrived."""
        self._buffer += data

    def next(self) -> Message | None:
        """The next whole message. Raises Violation; nothing can be read after that."""
        while (frame := self._frame()) is not None:
            final, opcode, payload = frame
            if opcode >= Opcode.CLOSE:
                return Message(opcode, payload)
            if opcode is not Opcode.CONTINUATION:
                self._opcode = opcode
            if final and not self._fragments:
                opcode, self._opcode = self._opcode, Opcode.CONTINUATION
                return Message(opcode, payload)
            if payload:  # or empty ones could be sent, and kept, for ever
                self._fragments.append(payload)
            self._size += len(payload)
            if final:
                return self._joined()
        return None

    def _joined(self) -> Message:
        message = Message(self._opcode, b"".join(self._fragments))
        self._fragments, self._opcode, self._size = [], Opcode.CONTINUATION, 0
        return message

    def _frame(self) -> tuple[bool, Opcode, bytes] | None:
        """The next frame: whether it is the last of its message, what it is, its payload; None until it is whole."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        final, opcode, length = bool(buffer[0] & FIN), self._checked(buffer[0], buffer[1]), buffer[1] & 0x7F
        start = {126: 4, 127: 10}.get(length, 2)
        if len(buffer) < start:
            return None
        if start > 2:
            length = int.from_bytes(buffer[2:start], "big")
            if length < (126 if start == 4 else 1 << 16) or length >> 63:
                raise Violation(_PROTOCOL_ERROR, "a length that is not in its shortest form")
        if self._size + length > self._most and opcode < Opcode.CLOSE:
            raise Violation(DisconnectCode.MESSAGE_TOO_BIG, "message too big")
        end = start + 4 + length
        if len(buffer) < end:
            return None
        payload = unmask(bytes(buffer[start + 4 : end]), bytes(buffer[start : start + 4]))
        del buffer[:end]
        return final, opcode, payload

    def _checked(self, first: int, second: int) -> Opcode:
        opcode = _OPCODES.get(first & 0x0F)
        if first & 0x70 or opcode is None:
            raise Violation(_PROTOCOL_ERROR, "an extension that was not agreed on")
        if not second & MASKED:
            raise Violation(_PROTOCOL_ERROR, "a frame that is not masked")
        if opcode >= Opcode.CLOSE and (not first & FIN or second & 0x7F > MOST_CONTROL):
            raise Violation(_PROTOCOL_ERROR, "a control frame that is fragmented or too long")
        if opcode < Opcode.CLOSE and (opcode is Opcode.CONTINUATION) is (self._opcode is Opcode.CONTINUATION):
            raise Violation(_PROTOCOL_ERROR, "a fragment out of order")
        return opcode
