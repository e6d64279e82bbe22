"""The opening handshake of a WebSocket (RFC 6455, section 4.2), sans-I/O: a request's head in, a response out.

Reading is strict: whatever is not a whole and proper upgrade is refused with the status that says why. Who may connect
is the application's matter, which gets the path, the query and the headers as they came.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha1

from flotilla.realtime.server.head import Head, Headers, HeadReader, Refused, line, phrase, refusal

__all__ = ["Handshake", "Headers", "Refused", "acceptance", "judge", "phrase", "read", "refusal"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_NOT_OURS = frozenset({b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-protocol"})

NO_UPGRADE = (
    "This address is for WebSockets, and the request does not ask for an upgrade. If it came through a proxy, have the"
    " proxy pass the headers Upgrade and Connection on with HTTP/1.1; for nginx: proxy_http_version 1.1;"
    ' proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
)
UPGRADE_HEADERS = [(b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]


@dataclass(frozen=True, slots=True)
class Handshake:
    """A proper request. `headers`: lower-case names, values as sent; `rest`: what the client sent behind it."""

    path: bytes
    query: bytes
    headers: Headers
    key: bytes
    subprotocols: list[str]
    rest: bytes


def read(data: bytes) -> Handshake:
    """The handshake in `data`, which begins with a whole head. Raises Refused."""
    reader = HeadReader()
    head = reader.feed(data)
    if head is None:
        raise Refused(400, "the head is not whole")
    return judge(head, reader.rest)


def judge(head: Head, rest: bytes) -> Handshake:
    """The handshake that a head is, and what came behind it. Raises Refused."""
    if head.method != b"GET":
        raise Refused(400, "a WebSocket handshake is a GET")
    if head.has_body:
        raise Refused(400, "a WebSocket handshake has no body")
    if not _says(head, b"upgrade", b"websocket") or not _says(head, b"connection", b"upgrade"):
        raise Refused(426, NO_UPGRADE, UPGRADE_HEADERS)
    if head.version != "1.1":
        raise Refused(426, NO_UPGRADE, UPGRADE_HEADERS)
    return Handshake(head.target, head.query, head.headers, _key(head), _subprotocols(head), rest)


def _says(head: Head, name: bytes, word: bytes) -> bool:
    """Whether a header that is a comma list has a word, in whatever case."""
    if name not in head.several and head.named.get(name, b"").lower() == word:
        return True  # as most clients have it
    return word in [one.lower() for one in head.words(name)]


def _key(head: Head) -> bytes:
    if head.values(b"sec-websocket-version") != [b"13"]:
        raise Refused(426, "only version 13 is spoken here", UPGRADE_HEADERS)
    keys = head.values(b"sec-websocket-key")
    try:
        if len(keys) == 1 and len(b64decode(keys[0], validate=True)) == 16:
            return keys[0]
    except ValueError:
        pass
    raise Refused(400, "a Sec-WebSocket-Key of 16 bytes in base64 is needed")


def _subprotocols(head: Head) -> list[str]:
    return [word.decode("latin-1") for word in head.words(b"sec-websocket-protocol")]


def acceptance(key: bytes, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """The response that opens the connection. Raises ValueError for a header that cannot be sent."""
    proof = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    response = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + proof
        + b"\r\n"
    )
    if subprotocol:
        response += line(b"sec-websocket-protocol", subprotocol.encode("latin-1"))
    return response + b"".join(line(name, value) for name, value in headers if name.lower() not in _NOT_OURS) + b"\r\n"
