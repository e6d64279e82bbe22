"""WebSocket frames in and out (RFC 6455, section 5).

In: only what nearly every client sends, whole messages that are not fragments;
`flotilla.realtime.server.incoming_frames` reads all others, and knows what is against the rules. Out: a server's
frames, unmasked and unfragmented.
"""

_FIN = 0x80
_MASKED = 0x80
_FIN_TEXT = 0x81
_FIN_BINARY = 0x82


def unmask(payload: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    """The payload as it was before it was masked with these four bytes, or the other way round."""
    size = len(payload)
    if not size:
        return b""
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def first_text(data: bytes, start: int, most: int) -> tuple[bytes, int] | None:
    """The payload of the unfragmented, masked text frame of at most `most` bytes that begins at `start` (0 or more),
    and where it ends; None for all else, and for one that is not whole. The payload need not be UTF-8."""
    return _first(_FIN_TEXT, data, start, most)


def first_binary(data: bytes, start: int, most: int) -> tuple[bytes, int] | None:
    """As `first_text`, for a binary frame."""
    return _first(_FIN_BINARY, data, start, most)


def _first(kind: int, data: bytes, start: int, most: int) -> tuple[bytes, int] | None:
    if start >= len(data) or data[start] != kind:
        return None
    begin, end = _take(data, start, most)
    return (unmask(data[begin:end], data[begin - 4 : begin]), end) if end else None


def _take(data: bytes, begin: int, most: int) -> tuple[int, int]:
    """Where the payload of the frame at `begin`, of which the first byte was looked at, starts and ends; (0, 0) when it
    is not whole, too long, or against the rules."""
    size = len(data)
    if size < begin + 6 or not data[begin + 1] & _MASKED:
        return 0, 0
    length = data[begin + 1] & 0x7F
    start = begin + 6
    if length > 125:
        more = 2 if length == 126 else 8
        length = int.from_bytes(data[begin + 2 : begin + 2 + more], "big")
        start += more
        if size < start or length < (126 if more == 2 else 1 << 16):
            return 0, 0
    return (start, start + length) if length <= most and size >= start + length else (0, 0)


def framed(opcode: int, payload: bytes) -> bytes:
    """A whole frame, as it goes onto the wire."""
    length, first = len(payload), _FIN | opcode
    if length < 126:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


def publication_push(channel: bytes, body: bytes, offset: int) -> bytes:
    """A publication as clients get it: `channel` is the name as a JSON string, `body` the publication's object without
    its offset, which is 0 where the channel has no history."""
    if offset:
        return b'{"push":{"channel":%b,"pub":%b,"offset":%d}}}' % (channel, body[:-1], offset)
    return b'{"push":{"channel":%b,"pub":%b}}' % (channel, body)
