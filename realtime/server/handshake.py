"""The opening handshake of a WebSocket (RFC 6455, section 4.2), sans-I/O: a request's head in, a response out.

Reading is strict: whatever is not a whole and proper upgrade is refused with the status that says why. Who may connect
is the application's matter, which gets the path, the query and the headers as they came.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha1
from http import HTTPStatus

import httptools

Headers = list[tuple[bytes, bytes]]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_NOT_OURS = frozenset({b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-protocol"})

_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Handshake:
    """A proper request. `headers`: lower-case names, values as sent; `rest`: what the client sent behind it."""

    path: bytes
    query: bytes
    headers: Headers
    key: bytes
    subprotocols: list[str]
    rest: bytes


class Refused(Exception):
    """A request that is no proper handshake; answered with `response` and closed."""

    def __init__(self, status: int, why: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(why)
        self.response = refusal(status, [(b"content-type", b"text/plain"), *headers], why.encode())


class _Head:
    """Collects what the parser finds."""

    __slots__ = ("headers", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: Headers = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def wants_upgrade(head: bytes) -> bool:
    """Whether a request's head asks for a WebSocket at all; anything else is plain HTTP."""
    header = head.lower().partition(b"\nupgrade:")[2]
    return b"websocket" in header.partition(b"\n")[0]


def read(data: bytes) -> Handshake:
    """The handshake in `data`, which begins with a whole head. Raises Refused."""
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        rest = data[upgrade.args[0] :]
    except httptools.HttpParserError as error:
        raise Refused(400, f"malformed request: {error}") from None
    else:
        raise Refused(400, "the Connection header does not ask for an upgrade")
    if parser.get_method() != b"GET" or parser.get_http_version() < "1.1":
        raise Refused(400, "a WebSocket handshake is a GET of HTTP/1.1")
    path, query = _target(head.url)
    return Handshake(path, query, head.headers, _key(head.headers), _subprotocols(head.headers), rest)


def _target(url: bytes) -> tuple[bytes, bytes]:
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise Refused(400, "malformed address") from None
    path = parsed.path or b"/"
    if not url.isascii() or not path.startswith(b"/"):
        raise Refused(400, "the address must be a path in ASCII")
    return path, parsed.query or b""


def _key(headers: Headers) -> bytes:
    if b"websocket" not in (word.lower() for word in _words(headers, b"upgrade")):
        raise Refused(400, "only WebSocket can be upgraded to")
    if _values(headers, b"sec-websocket-version") != [b"13"]:
        raise Refused(426, "only version 13 is spoken here", [(b"sec-websocket-version", b"13")])
    if len(_values(headers, b"host")) != 1:
        raise Refused(400, "exactly one Host header is needed")
    keys = _values(headers, b"sec-websocket-key")
    try:
        if len(keys) == 1 and len(b64decode(keys[0], validate=True)) == 16:
            return keys[0]
    except ValueError:
        pass
    raise Refused(400, "a Sec-WebSocket-Key of 16 bytes in base64 is needed")


def _subprotocols(headers: Headers) -> list[str]:
    return [word.decode("latin-1") for word in _words(headers, b"sec-websocket-protocol")]


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value.strip() for known, value in headers if known == name]


def _words(headers: Headers, name: bytes) -> list[bytes]:
    return [word.strip() for value in _values(headers, name) for word in value.split(b",") if word.strip()]


def acceptance(key: bytes, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """The response that opens the connection. Raises ValueError for a header that cannot be sent."""
    proof = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    response = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + proof
        + b"\r\n"
    )
    if subprotocol:
        response += _line(b"sec-websocket-protocol", subprotocol.encode("latin-1"))
    return response + b"".join(_line(name, value) for name, value in headers if name.lower() not in _NOT_OURS) + b"\r\n"


def refusal(status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"") -> bytes:
    """A response that refuses and closes. Raises ValueError for a status or header that cannot be sent."""
    lines = b"".join(_line(name, value) for name, value in headers if name.lower() not in _FRAMING)
    start = b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
    return start + lines + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body


def _line(name: bytes, value: bytes) -> bytes:
    if b"\n" in name + value or b"\r" in name + value:
        raise ValueError(f"a header must be one line: {name!r}")
    return b"%b: %b\r\n" % (name, value)
