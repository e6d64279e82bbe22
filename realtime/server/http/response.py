"""An application's response as bytes (RFC 9112), sans-I/O: exactly as long as it says.

`start` takes what ASGI's `http.response.start` says, `body` each part; both give what is to be written. The head leaves
with the first part, or by itself (`flush`) when that does not come at once. Raises ValueError for what cannot be sent.
"""

import re
import time
from email.utils import formatdate
from enum import Enum, auto
from typing import Any

from flotilla.realtime.server.head import line, phrase

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset({b"connection", b"transfer-encoding", b"content-length", b"keep-alive"})
_WITHOUT_BODY = frozenset({204, 304})


class Framing(Enum):
    """How the end of a response's body is known."""

    NONE = auto()  # it has no body
    LENGTH = auto()
    CHUNKS = auto()
    CLOSE = auto()  # HTTP/1.0: by the end of the connection


class Response:
    """One response. `head_only`: to HEAD; `chunks`: whether the client understands them; `keep`: the connection."""

    __slots__ = ("_chunks", "_framing", "_head", "_head_only", "_left", "_length", "_lines", "complete", "keep",
                 "sent", "started", "status")  # fmt: skip

    def __init__(self, *, head_only: bool, chunks: bool, keep: bool) -> None:
        self._head_only = head_only
        self._chunks = chunks
        self.keep = keep
        self._lines: list[bytes] = []
        self._head = False  # it was given out
        self._framing = Framing.NONE
        self._length: int | None = None
        self._left = 0  # bytes of the body that are to come
        self.status = 0
        self.sent = 0  # bytes of the body
        self.started = False
        self.complete = False

    @property
    def has_begun(self) -> bool:
        """Whether anything of it was given out."""
        return self._head

    def start(self, status: int, headers: Any, server: bytes = b"") -> None:
        """What the response says of itself."""
        if self.started:
            raise ValueError("the response was started already")
        if not isinstance(status, int) or not 200 <= status <= 999:
            raise ValueError(f"no status of a response: {status!r}")
        length, lines, names, keep = None, [], set(), self.keep
        for name, value in headers:
            _check(name, value)
            lower = name.lower()
            names.add(lower)
            if lower == b"content-length":
                length = _parsed_length(length, value)
            elif lower == b"connection":
                keep = keep and b"close" not in value.lower()
            elif lower not in _OURS:
                lines.append(line(name, value))
        if b"date" not in names:
            lines.append(b"Date: %b\r\n" % now())
        if server and b"server" not in names:
            lines.append(b"Server: %b\r\n" % server)
        self._length, self._lines, self.keep = length, lines, keep
        self.status, self.started = int(status), True

    def whole(self, length: int) -> None:
        """All of the body is known, and this is how long it is."""
        if self._length is None and not self._head:
            self._length = length

    def flush(self) -> bytes:
        """The head, when it must leave before there is a body; b"" when it has left."""
        return b"" if self._head else self._give_head(None)

    def body(self, data: bytes, more: bool) -> bytes:
        """The next part of the body, the last one unless there is `more`."""
        if not self.started:
            raise ValueError("the response was not started yet")
        if self.complete:
            raise ValueError("the response is complete already")
        head = b"" if self._head else self._give_head(None if more else len(data))
        if self._framing is Framing.NONE:
            self.complete = True
            return head
        if self._framing is Framing.LENGTH:
            if len(data) > self._left or (not more and len(data) < self._left):
                raise ValueError("the body is not as long as its Content-Length says")
            self._left -= len(data)
        self.sent += len(data)
        self.complete = not more
        if self._framing is Framing.CHUNKS:
            data = _chunk(data, last=not more)
        return head + data if head else data

    def _give_head(self, whole: int | None) -> bytes:
        """`whole`: the length of the body, when it is known."""
        length = self._length if self._length is not None else whole
        start = b"HTTP/1.1 %d %b\r\n" % (self.status, phrase(self.status))
        framing = self._frame(length)
        connection = self._connection()
        self._head = True
        lines, self._lines = self._lines, []
        return b"".join((start, *lines, framing, connection, b"\r\n"))

    def _connection(self) -> bytes:
        words = [b"upgrade"] if self.status == 426 else []  # RFC 9110, 7.8
        if not self.keep:
            words.append(b"close")
        elif not self._chunks:
            words.append(b"keep-alive")
        return b"Connection: %b\r\n" % b", ".join(words) if words else b""

    def _frame(self, length: int | None) -> bytes:
        """Decide how the body's end is known, and say so."""
        if self.status in _WITHOUT_BODY:
            return b""
        said = b"" if length is None else b"Content-Length: %d\r\n" % length
        if self._head_only:  # the length that a GET would have is the application's to say
            return said if self._length is not None else b""
        if length is not None:
            self._framing, self._left = Framing.LENGTH, length
            return said
        if self._chunks:
            self._framing = Framing.CHUNKS
            return b"Transfer-Encoding: chunked\r\n"
        self._framing, self.keep = Framing.CLOSE, False
        return b""


def _check(name: Any, value: Any) -> None:
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise ValueError(f"a header's name and value must be bytes: {name!r}")
    if not _NAME.fullmatch(name) or b"\0" in value:
        raise ValueError(f"a header that cannot be sent: {name!r}")


def _parsed_length(before: int | None, value: bytes) -> int:
    if before is not None or not value.isdigit():
        raise ValueError("a response has one Content-Length, a number")
    return int(value)


def _chunk(data: bytes, *, last: bool) -> bytes:
    end = b"0\r\n\r\n" if last else b""
    return b"%x\r\n%b\r\n%b" % (len(data), data, end) if data else end


_date: tuple[int, bytes] = (0, b"")


def now() -> bytes:
    """The time as the Date header has it, made once in a second."""
    global _date
    second = int(time.time())
    if _date[0] != second:
        _date = (second, formatdate(second, usegmt=True).encode())
    return _date[1]
