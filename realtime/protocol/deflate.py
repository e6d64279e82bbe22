"""permessage-deflate (RFC 7692), sans-I/O: what is agreed in a handshake, and messages compressed and inflated.

Neither side takes a context over: every message stands for itself, so that one compressed publication is right for
every socket, and an idle connection keeps no window. An offer that wants what is not done here is passed over, and
without one that is left the connection goes uncompressed. What is inflated never becomes larger than it may.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

EXTENSION = b"permessage-deflate"
HEADER = b"sec-websocket-extensions"
RSV1 = 0x40  # in a frame's first byte: its message is compressed
LEVEL = 6  # of 1 to 9; docs/BENCHMARKS.md has what each costs and gains
LEAST_WINDOW, LARGEST_WINDOW = 9, 15  # bits; zlib has no smaller window than 2**9 bytes for raw deflate
MAX_FINALS = 8  # blocks of a message that say that they are its last one
_TAIL = b"\x00\x00\xff\xff"  # the empty block at a message's end, which is not sent (7.2.1)

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PIECE = re.compile(  # a name, the value it may have, and what comes behind it
    rb"[ \t]*(%b)[ \t]*(?:=[ \t]*(%b|\"(?:[^\"\\]|\\.)*\")[ \t]*)?(;|,[ \t,]*|\Z)" % (_TOKEN, _TOKEN)
)
_BITS = re.compile(rb"[89]|1[0-5]")


class Agreement(NamedTuple):
    """What was agreed on: `answer` is the header's value, `window_bits` bind what the server compresses."""

    answer: bytes
    window_bits: int


class Broken(Exception):
    """A message that is not compressed as it should be."""


class TooBig(Exception):
    """A message that becomes larger than it may."""


def offers_among(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What the client offers, of a request's headers with their names in lower case."""
    return b",".join([value for name, value in headers if name == HEADER])


def agree(offers: bytes) -> Agreement | None:
    """The first offer of permessage-deflate that can be kept; None where there is none, or where the header is not as
    RFC 6455, 9.1, has it."""
    for name, parameters in _extensions(offers):
        if name == EXTENSION and (agreed := _judge(parameters)) is not None:
            return agreed
    return None


def _extensions(offers: bytes) -> list[tuple[bytes, list[tuple[bytes, bytes | None]]]]:
    """Every extension of the header with its parameters; nothing when any of it is malformed."""
    found: list[tuple[bytes, list[tuple[bytes, bytes | None]]]] = []
    begins = True
    for name, value, behind in _pieces(offers):
        if not name:
            return []
        if not begins:
            found[-1][1].append((name, value))
        elif value is None:
            found.append((name, []))
        else:
            return []
        begins = not behind.startswith(b";")
    return found


def _pieces(offers: bytes) -> Iterator[tuple[bytes, bytes | None, bytes]]:
    """Names in order, each with its value and the separator behind it; an empty name where it is malformed."""
    at = len(offers) - len(offers.lstrip(b" \t,"))
    while at < len(offers):
        piece = _PIECE.match(offers, at)
        if piece is None or (piece[3] == b";" and piece.end() == len(offers)):
            yield b"", None, b""
            return
        yield piece[1], _unquoted(piece[2]), piece[3]
        at = piece.end()


def _unquoted(value: bytes | None) -> bytes | None:
    if value is None or not value.startswith(b'"'):
        return value
    return re.sub(rb"\\(.)", rb"\1", value[1:-1])


def _judge(parameters: list[tuple[bytes, bytes | None]]) -> Agreement | None:
    """What an offer comes to (7.1); None for one that cannot be kept, or that asks for what nobody knows."""
    asked = dict(parameters)
    if len(asked) < len(parameters):
        return None
    flags = [asked.pop(b"%b_no_context_takeover" % side, None) for side in (b"server", b"client")]
    bits = _bits(asked.pop(b"server_max_window_bits", b"15"))
    theirs = asked.pop(b"client_max_window_bits", None)  # a hint: they may use less than they could
    if asked or any(flag is not None for flag in flags) or bits < LEAST_WINDOW:
        return None
    if theirs is not None and not _bits(theirs):
        return None
    answer = EXTENSION + b"; server_no_context_takeover; client_no_context_takeover"
    if any(name == b"server_max_window_bits" for name, _ in parameters):
        answer += b"; server_max_window_bits=%d" % bits
    return Agreement(answer, bits)


def _bits(value: bytes | None) -> int:
    """A size of a window, 8 to 15; 0 for what is none."""
    return int(value) if value is not None and _BITS.fullmatch(value) else 0


class Deflater:
    """Compresses messages, each by itself. For one thread."""

    def __init__(self, window_bits: int) -> None:
        # One for all: a full flush forgets everything before it, and costs a third of a new compressor.
        self._stream = zlib.compressobj(LEVEL, zlib.DEFLATED, -window_bits)

    def deflate(self, payload: bytes) -> bytes:
        """A message's payload, compressed; `payload` must not be empty."""
        stream = self._stream
        return (stream.compress(payload) + stream.flush(zlib.Z_FULL_FLUSH))[: -len(_TAIL)]


@cache
def deflater(window_bits: int) -> Deflater:
    """The event loop's, for everybody with whom this window was agreed."""
    return Deflater(window_bits)


def inflate(payload: bytes, most: int) -> bytes:
    """A compressed message as it was, of at most `most` bytes. Raises TooBig, as soon as it is, and Broken."""
    parts: list[bytes] = []
    rest = payload + _TAIL
    for _ in range(MAX_FINALS):
        stream = zlib.decompressobj(-LARGEST_WINDOW)
        try:
            part = stream.decompress(rest, most + 1)
        except zlib.error as error:
            raise Broken(str(error)) from None
        if len(part) > most:
            raise TooBig
        if not stream.eof:
            return b"".join((*parts, part)) if parts else part
        parts.append(part)  # by a block that said it was the last one (7.2.3.4); others may follow
        most -= len(part)
        rest = stream.unused_data
    raise Broken("too many last blocks")
