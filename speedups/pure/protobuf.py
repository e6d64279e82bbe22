"""Protobuf's wire format, as far as it is written and read by hand: the messages of which there are most.

In: a publish command as every SDK writes it; the library reads all others, and knows what is against the rules. Out:
the push of a publication.
"""

MAX_VARINT = 10  # bytes
MAX_ID = 2**32 - 1

_ONE_BYTE = tuple(bytes((number,)) for number in range(128))
_PUSH, _PUB, _DATA, _INFO, _OFFSET = 0x22, 0x22, 0x22, 0x2A, b"\x30"
_ID, _PUBLISH, _CHANNEL, _PAYLOAD = 0x08, 0x3A, 0x0A, 0x12


def varint(number: int) -> bytes:
    """A number of at most 64 bits without a sign."""
    if number < 128:
        return _ONE_BYTE[number]
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


def sized(tag: int, content: bytes) -> bytes:
    """A field of text, bytes or a message; `tag` has one byte."""
    size = len(content)
    return b"%c%c%b" % (tag, size, content) if size < 128 else b"%c%b%b" % (tag, varint(size), content)


def read_varint(data: bytes, start: int) -> tuple[int, int]:
    """The number at `start`, and where it ends. Raises ValueError where none is whole, or it has more than 64 bits."""
    number = shift = 0
    for at in range(start, min(start + MAX_VARINT, len(data))):
        byte = data[at]
        number |= (byte & 127) << shift
        if byte < 128:
            if number >> 64:
                break
            return number, at + 1
        shift += 7
    raise ValueError("no whole varint")


def protobuf_push(channel: bytes, data: bytes, info: bytes, offset: int, tags: bytes) -> bytes:
    """The push of a publication. `channel` and `tags` are whole fields; `info` is a ClientInfo, b"" for none; `offset`
    is 0 where the channel has no history."""
    pub = sized(_DATA, data) if data else b""
    if info:
        pub += sized(_INFO, info)
    if offset:
        pub += _OFFSET + varint(offset)
    return sized(_PUSH, channel + sized(_PUB, pub + tags))


def protobuf_publish(message: bytes, start: int) -> tuple[int, str, bytes, int] | None:
    """The publish command that begins with its length at `start`: its id, channel and data, and where it ends.

    None for any other command, and for a publish that is not whole, has other fields or another order. Raises
    UnicodeDecodeError for a channel that is not UTF-8.
    """
    try:
        size, at = read_varint(message, start)
        end = at + size
        if end > len(message) or message[at] != _ID:
            return None
        id, at = read_varint(message, at + 1)
        if not 0 < id <= MAX_ID or message[at] != _PUBLISH:
            return None
        size, at = read_varint(message, at + 1)
        if at + size != end or message[at] != _CHANNEL:
            return None
        size, at = read_varint(message, at + 1)
        channel, at = message[at : at + size], at + size
        if at >= end or message[at] != _PAYLOAD:
            return None
        size, at = read_varint(message, at + 1)
        if at + size != end:
            return None
    except (ValueError, IndexError):
        return None
    return id, channel.decode(), message[at:end], end
