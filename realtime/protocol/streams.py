"""Messages in the body of a response that does not end: lines, server-sent events, and the chunks of HTTP/1.1.

A frame's `payload` is its part of the body, for a server that does its own framing; its `wire` is that part as a chunk,
or as it is where the client knows no chunks (HTTP/1.0) or the server makes them.
"""

from collections.abc import Callable, Iterator, Sequence

from flotilla.realtime.protocol.encodings import Encoding
from flotilla.realtime.protocol.frames import TEXT, Frame

LAST_CHUNK = b"0\r\n\r\n"


class StreamFrame(Frame):
    """A part of the body, in which messages (`content`) were put, if not the whole of it is one."""

    __slots__ = ("_content",)

    def __init__(self, part: bytes, *, chunked: bool, content: bytes | None = None) -> None:
        self._content = part if content is None else content
        self.payload = part
        self.opcode = TEXT
        self.wire = chunk(part) if chunked else part
        self._text = None

    @property
    def content(self) -> bytes:
        return self._content


class StreamFormat:
    """An encoding whose messages are put into a body (`put`), in chunks or not."""

    def __init__(self, encoding: Encoding, put: Callable[[bytes], bytes], *, chunked: bool) -> None:
        self.encoding = encoding
        self.chunked = chunked
        self._put = put
        self.ping = self.frame((encoding.ping,))

    def frame(self, payloads: Sequence[bytes]) -> Frame:
        content = self.encoding.joined(payloads)
        return StreamFrame(self._put(content), chunked=self.chunked, content=content)


def as_lines(payload: bytes) -> bytes:
    """JSON, an object a line."""
    return payload + b"\n"


def as_they_are(payload: bytes) -> bytes:
    """Messages that say their own length."""
    return payload


def as_event(payload: bytes) -> bytes:
    """A server-sent event of the payload's lines. A raw CR, which ends a line there, is a blank in JSON."""
    return b"data: " + payload.replace(b"\r", b" ").replace(b"\n", b"\ndata: ") + b"\n\n"


def chunk(part: bytes) -> bytes:
    """A part of a body (not an empty one, which would end it) as a chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(part), part)


_formats: dict[tuple[Encoding, Callable[[bytes], bytes], bool], StreamFormat] = {}


def stream_format(encoding: Encoding, put: Callable[[bytes], bytes], chunked: bool) -> StreamFormat:
    """The one format of its kind: they are compared by identity."""
    kind = encoding, put, chunked
    if kind not in _formats:
        _formats[kind] = StreamFormat(encoding, put, chunked=chunked)
    return _formats[kind]


def event(data: str, name: str = "", id: str | None = None) -> bytes:
    """One server-sent event; `id` is None for one that leaves the client's last id as it is."""
    head = (f"id: {id}\n" if id is not None else "") + (f"event: {name}\n" if name else "")
    return (head + "".join(f"data: {line}\n" for line in _lines(data)) + "\n").encode()


def _lines(data: str) -> Iterator[str]:
    yield from data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
