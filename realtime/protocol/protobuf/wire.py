"""What is done by hand of Protobuf's wire format, beside `flotilla.speedups`: messages behind their lengths, text."""

from collections.abc import Sequence

from flotilla.speedups.pure.protobuf import read_varint, varint


def parts(data: bytes, most: int) -> list[bytes]:
    """Messages that were written one after another, each behind its length: at most one more than `most` of them.

    Raises ValueError where they do not end with the data.
    """
    found: list[bytes] = []
    start = 0
    while start < len(data) and len(found) <= most:
        length, start = read_varint(data, start)
        if length > len(data) - start:
            raise ValueError("a message that is not whole")
        found.append(data[start : start + length])
        start += length
    return found


def joined(messages: Sequence[bytes]) -> bytes:
    """Messages one after another, each behind its length."""
    if len(messages) == 1:
        return varint(len(messages[0])) + messages[0]
    return b"".join([part for message in messages for part in (varint(len(message)), message)])


def text(value: str) -> bytes:
    """Text as Protobuf has it. A half of a surrogate pair, which JSON can hold and UTF-8 cannot, becomes U+FFFD."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
