"""A request's body (RFC 9112, 6 and 7), sans-I/O: bytes in, pieces of the body out, and what came behind it.

Nothing is kept but the line of a chunk that is not whole yet. A body in chunks may be as long as `most` bytes; what
frames it (sizes, extensions, trailers) is bounded as well, and trailers are dropped.
"""

import re
from enum import Enum, auto
from typing import Protocol

from flotilla.realtime.server.head import Head, Refused

MAX_LINE = 1024  # bytes of a chunk's first line, or of a trailer's
MAX_TRAILERS = 8192
MAX_EXTENSIONS = 16 * 1024  # bytes, in all of a body's chunks

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_SMALL = {b"%x" % size: size for size in range(1, 4096)}
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


class Body(Protocol):
    """`done` when it is whole; then `rest` is what follows it."""

    done: bool
    rest: bytes

    def feed(self, data: bytes) -> bytes:
        """What of the body is in `data`. Raises Refused."""


class Length:
    """A body of a known length in bytes."""

    __slots__ = ("done", "left", "rest")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """As Body has it."""
        left = self.left
        if len(data) >= left:
            self.done, self.left, self.rest = True, 0, data[left:]
            return data[:left]
        self.left = left - len(data)
        return data


class _At(Enum):
    """What comes next of a body in chunks."""

    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()


class Chunked:
    """A body in chunks, of at most `most` bytes."""

    __slots__ = ("_at", "_extensions", "_left", "_line", "_room", "_trailers", "done", "most", "rest")

    def __init__(self, most: int) -> None:
        self.most = most
        self.done = False
        self.rest = b""
        self._room = most
        self._at = _At.SIZE
        self._line = b""  # the part of one that has come
        self._left = 0  # bytes of this chunk that are to come
        self._extensions = self._trailers = 0

    def feed(self, data: bytes) -> bytes:
        """As Body has it."""
        found: list[bytes] = []
        at = 0
        data, self._line = self._line + data, b""
        while at < len(data) and not self.done:
            if self._at is _At.SIZE:
                at = self._take_small(data, at, found)
            if self._at is _At.DATA:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                found.append(piece)
                if not self._left:
                    self._at = _At.DATA_END
                continue
            end = data.find(b"\n", at, at + MAX_LINE)
            if end < 0:
                self._keep(data[at:])
                break
            self._on_line(data[at:end])
            at = end + 1
        if self.done:
            self.rest = data[at:]
        return b"".join(found)

    def _take_small(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Chunks that are here whole, without extensions: one that sends a body by the byte shall cost little."""
        room = self._room
        while True:
            end = data.find(b"\r\n", at, at + 6)
            size = _SMALL.get(data[at:end], 0) if end >= 0 else 0
            last = end + 2 + size
            if not size or size > room or data[last : last + 2] != b"\r\n":
                self._room = room
                return at
            found.append(data[end + 2 : last])
            room -= size
            at = last + 2

    def _keep(self, part: bytes) -> None:
        if len(part) >= MAX_LINE:
            raise Refused(400, "a line of a chunk is too long")
        self._line = part

    def _on_line(self, line: bytes) -> None:
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise Refused(400, "malformed chunk")
        line = line[:-1]
        if self._at is _At.SIZE:
            self._on_size(line)
        elif self._at is _At.DATA_END:
            if line:
                raise Refused(400, "a chunk is longer than it says")
            self._at = _At.SIZE
        else:
            self._on_trailer(line)

    def _on_size(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise Refused(400, "malformed size of a chunk")
        self._left = int(size.group(1), 16)
        self._extensions += len(line) - len(size.group(1))
        if self._extensions > MAX_EXTENSIONS:
            raise Refused(400, "the extensions of the chunks are too long")
        self._room -= self._left
        if self._room < 0:
            raise too_large(self.most)
        self._at = _At.DATA if self._left else _At.TRAILERS

    def _on_trailer(self, line: bytes) -> None:
        self._trailers += len(line) + 2
        if not line:
            self.done = True
        elif self._trailers > MAX_TRAILERS or not _TRAILER.fullmatch(line):
            raise Refused(400, "malformed trailer")


def body_of(head: Head, most: int) -> Body:
    """The body that follows a head. Raises Refused when it says that it is longer than `most` bytes."""
    if head.length is None:
        return Chunked(most)
    if head.length > most:
        raise too_large(most)
    return Length(head.length)


def too_large(most: int) -> Refused:
    """A body that is longer than it may be."""
    return Refused(413, f"a body has at most {most} bytes here")
