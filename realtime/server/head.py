"""The head of a request (RFC 9112), sans-I/O: bytes in, a `Head` out, or `Refused` with the status that says why.

Strict where two readers could disagree about where a request ends, for that is how one is smuggled past a proxy: one
way to say a body's length, no folded lines, no lone CR or LF. llhttp reads the lines; what a request may say is
judged here. Pages and sockets share the bounds.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

try:
    import httptools
except ImportError:  # heads are read by our own server alone, which does not start without the extra `daphne`
    httptools = None  # type: ignore[assignment]

from flotilla.error_pages import PLAIN, answer

Headers = list[tuple[bytes, bytes]]

MAX_HEAD = 32 * 1024  # bytes of a head
MAX_TARGET = 16 * 1024  # bytes of its first line
MAX_HEADERS = 100
END = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?\])?(?::\d{0,5})?")
_LENGTH = re.compile(rb"\d{1,18}")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)([/?].*)?", re.IGNORECASE)
_ACCEPT = re.compile(rb"\r\naccept:([^\r\n]*)\r\n", re.IGNORECASE)
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})


class Refused(Exception):
    """A request that is answered with `response` and whose connection is closed."""

    def __init__(self, status: int, why: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(why)
        self.status = status
        self._headers = list(headers)

    def response(self, accept: bytes = b"") -> bytes:
        """All of it: a page for who accepts one (its Accept header), a problem for who asks for JSON, else a line."""
        said, body = answer(accept.decode("latin-1"), self.status, str(self), otherwise=PLAIN)
        headers = [(name.lower().encode(), value.encode()) for name, value in said.items()]
        return refusal(self.status, [*headers, *self._headers], body)


@dataclass(slots=True)
class Head:
    """What a request says before its body. `headers`: lower-case names, values as sent, one Cookie at most;
    `named`: the last value of each name; `several`: the names that come more than once.

    `length` is that of the body in bytes, None for one in chunks. `target` is the path as it was sent.
    """

    method: bytes
    target: bytes
    query: bytes
    version: str
    headers: Headers
    named: dict[bytes, bytes]
    several: set[bytes]
    keeps_alive: bool
    length: int | None
    expects_continue: bool
    wants_websocket: bool

    @property
    def has_body(self) -> bool:
        """Whether anything follows the head that belongs to it."""
        return self.length != 0

    def values(self, name: bytes) -> list[bytes]:
        """All values of a header, in order."""
        if name in self.several:
            return [value for known, value in self.headers if known == name]
        return [self.named[name]] if name in self.named else []

    def words(self, name: bytes) -> list[bytes]:
        """The parts of a header that is a comma list, however often it was sent."""
        if name not in self.named:
            return []
        return [word.strip() for value in self.values(name) for word in value.split(b",") if word.strip()]


class HeadReader:
    """Collects bytes until a head is whole. `rest` is what came behind it."""

    __slots__ = ("_data", "accept", "is_of_head", "rest")

    def __init__(self) -> None:
        self._data = b""
        self.accept = b""  # of a head that was refused, as far as it came: which form of an answer it takes
        self.is_of_head = False  # the method is HEAD: no answer has a body
        self.rest = b""

    @property
    def begun(self) -> bool:
        """Whether anything of it has come."""
        return bool(self._data)

    def feed(self, data: bytes) -> Head | None:
        """The head, once it is whole. Raises Refused."""
        before = len(self._data)
        if before:
            data = self._data + data
        elif data.startswith(b"\r\n"):
            data = data[2:]  # RFC 9112, 2.2: an empty line before a request is ignored
        self.is_of_head = data.startswith(b"HEAD ")
        end = data.find(END, max(0, before - 3), MAX_HEAD)
        try:
            if end < 0:
                _look_at_part(data)
                self._data = data
                return None
            self._data, self.rest = b"", data[end + 4 :]
            return read_head(data[: end + 4])
        except Refused:
            found = _ACCEPT.search(data, 0, MAX_HEAD)
            self.accept = found[1] if found else b""
            raise


def _look_at_part(data: bytes) -> None:
    """Refuse what can become no head, without waiting for its end. Raises Refused."""
    line_end = data.find(b"\r\n", 0, MAX_TARGET)
    if line_end < 0 and len(data) > MAX_TARGET:
        raise Refused(414, f"the address is longer than {MAX_TARGET} bytes")
    if len(data) >= MAX_HEAD:
        raise Refused(431, f"the head of the request is longer than {MAX_HEAD} bytes")
    if data and (not 0x21 <= data[0] <= 0x7E or b"\0" in data):
        raise Refused(400, "this is no HTTP")
    whole = data[:-1] if data.endswith(b"\r") else data
    if whole.count(b"\n") != whole.count(b"\r\n") or whole.count(b"\r") != whole.count(b"\r\n"):
        raise Refused(400, "lines end with CR and LF")


class _Lines:
    """Collects what llhttp finds."""

    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: Headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))


def read_head(data: bytes) -> Head:
    """What a whole head says, its empty line included. Raises Refused."""
    line = data[: data.index(b"\r\n")]
    method, url, version = _request_line(line)
    headers = _lines(data)
    if len(headers) > MAX_HEADERS:
        raise Refused(431, f"there are more than {MAX_HEADERS} headers")
    named = dict(headers)
    several = _repeated(headers) if len(named) < len(headers) else set()
    length = _length(named, several, version)
    authority, target, query = _target(method, url)
    _check_host(named, several, version, authority)
    if authority:  # RFC 9112, 3.2.2: it counts, whatever the header says
        headers = [(b"host", authority), *(pair for pair in headers if pair[0] != b"host")]
        named[b"host"] = authority
    if b"cookie" in several:
        headers = _with_one_cookie(headers)
        named[b"cookie"] = headers[-1][1]
        several.discard(b"cookie")
    expects = b"expect" in named and _expects(named[b"expect"], version)
    head = Head(method, target, query, version, headers, named, several, version == "1.1", length, expects, False)
    if b"connection" in named:
        words = head.words(b"connection") if b"connection" in several else named[b"connection"].split(b",")
        words = [word.strip().lower() for word in words]
        head.keeps_alive = b"close" not in words and (version == "1.1" or b"keep-alive" in words)
    if b"sec-websocket-key" in named:
        head.wants_websocket = True
    elif b"upgrade" in named:
        head.wants_websocket = b"websocket" in (word.lower() for word in head.words(b"upgrade"))
    return head


def _repeated(headers: Headers) -> set[bytes]:
    return {name for name, count in Counter(name for name, _ in headers).items() if count > 1}


def _request_line(line: bytes) -> tuple[bytes, bytes, str]:
    if len(line) > MAX_TARGET:
        raise Refused(414, f"the address is longer than {MAX_TARGET} bytes")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise Refused(400, "malformed request line")
    method, url, major, minor = found.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise Refused(505, "HTTP/1.0 and HTTP/1.1 are spoken here")
    return method, url, "1.1" if minor == b"1" else "1.0"


def _lines(data: bytes) -> Headers:
    lines = _Lines()
    parser = httptools.HttpRequestParser(lines)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # the head is whole; what it asks for is judged below
    except httptools.HttpParserInvalidMethodError:
        raise Refused(501, "unknown method") from None
    except httptools.HttpParserError as error:
        if "`Transfer-Encoding`" in str(error) and "Content-Length" not in str(error):
            _refuse_coding(data)
        raise Refused(400, f"malformed request: {error}") from None
    return lines.headers


def _refuse_coding(data: bytes) -> None:
    """llhttp refuses all codings that it does not know: say so as RFC 9112, 6.1 has it. Raises Refused."""
    lower = data.lower()
    if lower.count(b"\r\ntransfer-encoding:") == 1 and b"\r\ncontent-length:" not in lower:
        raise Refused(501, "the only transfer coding known here is chunked")


def _length(named: dict[bytes, bytes], several: set[bytes], version: str) -> int | None:
    """Bytes of the body; None for one in chunks. Raises Refused."""
    coding, length = named.get(b"transfer-encoding"), named.get(b"content-length")
    if coding is None and length is None:
        return 0
    if coding is not None:
        if length is not None or b"transfer-encoding" in several or version != "1.1":
            raise Refused(400, "the length of the body is ambiguous")
        if coding.lower() != b"chunked":
            raise Refused(501, "the only transfer coding known here is chunked")
        return None
    if length is None or b"content-length" in several or not _LENGTH.fullmatch(length):
        raise Refused(400, "malformed Content-Length")
    return int(length)


def _target(method: bytes, url: bytes) -> tuple[bytes, bytes, bytes]:
    """The authority (of a full address, else empty), the path and the query. Raises Refused."""
    authority = b""
    if method == b"CONNECT":
        raise Refused(501, "this is no proxy")
    if not url.startswith(b"/"):
        absolute = _ABSOLUTE.fullmatch(url)
        if absolute is not None:
            authority, url = absolute.group(1), absolute.group(2) or b"/"
            url = url if url.startswith(b"/") else b"/" + url
        elif url != b"*" or method != b"OPTIONS":
            raise Refused(400, "the address must be a path")
    path, _, query = url.partition(b"?")
    if b"#" in url:
        raise Refused(400, "malformed address")
    return authority, path, query


def _check_host(named: dict[bytes, bytes], several: set[bytes], version: str, authority: bytes) -> None:
    """Raises Refused."""
    host = named.get(b"host")
    if (host is None and version == "1.1") or b"host" in several:
        raise Refused(400, "exactly one Host header is needed")
    if not _HOST.fullmatch(host or b"") or (authority and not _HOST.fullmatch(authority)):
        raise Refused(400, "malformed Host")


def _with_one_cookie(headers: Headers) -> Headers:
    """Several Cookie headers are one, joined as RFC 9113, 8.2.3 has it."""
    joined = b"; ".join(value for name, value in headers if name == b"cookie")
    return [*((name, value) for name, value in headers if name != b"cookie"), (b"cookie", joined)]


def _expects(expected: bytes, version: str) -> bool:
    if version != "1.1":
        return False
    if expected.lower() != b"100-continue":
        raise Refused(417, "only 100-continue can be expected")
    return True


def phrase(status: int) -> bytes:
    """The reason phrase of a status; empty for one that has none."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def line(name: bytes, value: bytes) -> bytes:
    """A header as it is sent. Raises ValueError for one that would be more than that."""
    if b"\n" in name + value or b"\r" in name + value:
        raise ValueError(f"a header must be one line: {name!r}")
    return b"%b: %b\r\n" % (name, value)


def refusal(status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"") -> bytes:
    """A response that refuses and closes. Raises ValueError for a header that cannot be sent."""
    lines = b"".join(line(name, value) for name, value in headers if name.lower() not in _FRAMING)
    start = b"HTTP/1.1 %d %b\r\n" % (status, phrase(status))
    connection = b"close, upgrade" if status == 426 else b"close"  # RFC 9110, 7.8
    return start + lines + b"content-length: %d\r\nconnection: %b\r\n\r\n" % (len(body), connection) + body
