"""Requests of every kind from a seed: mostly what could be meant, sometimes spoilt, split anywhere."""

import random
from collections.abc import Callable

from tests.cluster.support.generic_server import KEY
from tests.raw_frames import BINARY, CLOSE, PING, PONG, TEXT, frame

METHODS = (
    "GET",
    "GET",
    "GET",
    "POST",
    "POST",
    "PUT",
    "HEAD",
    "OPTIONS",
    "DELETE",
    "PATCH",
    "BREW",
    "get",
    "G(T",
    "",
    "CONNECT",
)
TARGETS = (
    *("/generic/request", "/generic/request?a=%20b", "/generic/sink", "/http/body", "/http/cookies", "/http/host"),
    *("/health/live", "/nowhere", "/static/realtime/admin/live.js", "/admin/login/", "/api/info", "/api/publish"),
    *("/connection/websocket", "/generic/echo"),
    *("/generic/events", "/generic/source?size=200000", "/generic/status?code=204"),
    *("*", "/%ff", "/%00", "//", "http://127.0.0.1/generic/request", "127.0.0.1:80", "", "/\xff", "/" + "x" * 3000),
)  # fmt: skip
VERSIONS = ("HTTP/1.1",) * 8 + ("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "http/1.1", "")
TYPES = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "x/y; charset=zz",
)
VALUES = (
    "",
    "0",
    "1",
    "-1",
    "x",
    "chunked",
    "close",
    "\x00",
    "\xff",
    "a, b",
    '"',
    "127.0.0.1",
    "%00",
    "[::1",
    "x" * 5000,
)
HEADERS = (
    *("Host: 127.0.0.1", "Host: ", "Host: a, b", "Connection: close", "Connection: keep-alive", "Connection: Upgrade"),
    *("Cookie: sessionid=a; b=c", "Cookie: ;;=", "Expect: 100-continue"),
    *("Expect: x", "Range: bytes=0-9,5-", "Range: bytes=x"),
    *("If-None-Match: *", "If-Modified-Since: never", "Upgrade: websocket"),
    *("Upgrade: h2c", "X-API-Key: x", "TE: trailers"),
    *("Daphne-Root-Path: /foo", "X-Forwarded-For: \xff"),
    *("X-Forwarded-Proto: https", "Origin: null", "Accept-Encoding: gzip"),
    *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + KEY.decode()),
    *("Sec-WebSocket-Protocol: a, b", "Content-Type: x"),
    *("Content-Length: 3", "Content-Length: 99999999999999999999"),
    *("Content-Length: 3, 3", "Transfer-Encoding: chunked"),
    *("Transfer-Encoding: gzip", " folded: x", "no colon", ": x"),
    *("a b: c", "X: a\nY: b", "X: \x01", "Trailer: X", "X" * 40_000),
)  # fmt: skip
UPGRADE = ("Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
SPOILT = 0.3  # of the requests


class Grammar:
    """Gives the bytes of one connection after another."""

    def __init__(self, chance: random.Random) -> None:
        self._random = chance

    def connection(self) -> list[bytes]:
        """What one client sends, in the pieces it sends them."""
        some = self._random
        data = b"".join(
            self._handshake() if some.random() < 0.3 else self._request() for _ in range(some.randint(1, 3))
        )
        if some.random() < SPOILT:
            for _ in range(some.randint(1, 4)):
                data = some.choice(SPOILERS)(some, data)
        return self._split(data)

    def _split(self, data: bytes) -> list[bytes]:
        some = self._random
        cuts = sorted(some.randrange(len(data) + 1) for _ in range(some.choice((0, 0, 1, 2, 5, 30))))
        return [piece for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if (piece := data[start:end])]

    def _request(self) -> bytes:
        some = self._random
        lines = [f"{some.choice(METHODS)} {some.choice(TARGETS)} {some.choice(VERSIONS)}"]
        if some.random() < 0.9:
            lines.append("Host: 127.0.0.1")
        lines += some.choices(HEADERS, k=some.choice((0, 0, 1, 1, 2, 5)))
        lines += [f"X-{some.randrange(9)}: {some.choice(VALUES)}" for _ in range(some.choice((0, 0, 1, 50)))]
        body, framing = self._body()
        return "\r\n".join((*lines, *framing, "", "")).encode("latin-1") + body

    def _body(self) -> tuple[bytes, list[str]]:
        some = self._random
        if some.random() < 0.4:
            return b"", []
        made = some.choice(
            (some.randbytes(some.randrange(200)), b"a=1&b=2" * 9, b'{"channel":"open:a"}', b"[" * 3000, _PARTS)
        )
        more = [f"Content-Type: {some.choice(TYPES)}"] if some.random() < 0.7 else []
        if some.random() < 0.5:
            return made, [*more, f"Content-Length: {len(made) + some.choice((0,) * 9 + (-1, 1, 1000))}"]
        return self._chunks(made), [*more, "Transfer-Encoding: chunked"]

    def _chunks(self, body: bytes) -> bytes:
        some = self._random
        made, step = b"", some.choice((1, 7, 100, 10_000))
        for start in range(0, len(body[:2000]), step):
            piece = body[start : start + step]
            extension = some.choice((b"",) * 6 + (b";a=b", b' ; a="b;"', b";" + b"x" * 3000, b"\0"))
            made += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
        return made + some.choice(
            (b"0\r\n\r\n",) * 6 + (b"0\r\nX: y\r\n\r\n", b"0\r\n", b"", b"-1\r\n\r\n", b"0;x\r\n\r\n")
        )

    def _handshake(self) -> bytes:
        some = self._random
        target = some.choice(("/connection/websocket", "/generic/echo", "/generic/deny", "/generic/early", *TARGETS))
        lines = [f"GET {target} HTTP/1.1", *UPGRADE, f"Sec-WebSocket-Key: {KEY.decode()}"]
        if some.random() < 0.4:
            lines.pop(some.randrange(1, len(lines)))
        lines += some.choices(HEADERS, k=some.choice((0, 0, 1, 2)))
        kinds = (TEXT, BINARY, PING, PONG, CLOSE, 0, 3)
        frames = [
            frame(some.choice(kinds), some.randbytes(some.randrange(130)), final=some.random() < 0.9) for _ in range(3)
        ]
        return "\r\n".join((*lines, "", "")).encode("latin-1") + b"".join(frames)


_PARTS = b'--b\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nx\r\n--b\r\n\r\n\r\n--b--\r\n'


def _flip(some: random.Random, data: bytes) -> bytes:
    at = some.randrange(len(data) or 1)
    return data[:at] + bytes((some.randrange(256),)) + data[at + 1 :]


def _drop(some: random.Random, data: bytes) -> bytes:
    at = some.randrange(len(data) or 1)
    return data[:at] + data[at + some.choice((1, 1, 2, 20)) :]


def _insert(some: random.Random, data: bytes) -> bytes:
    at = some.randrange(len(data) + 1)
    return (
        data[:at]
        + some.choice((b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"\xff", b"0", b"\t", b"\r\n\r\n"))
        + data[at:]
    )


def _repeat(some: random.Random, data: bytes) -> bytes:
    at = some.randrange(len(data) or 1)
    return data[:at] + data[at : at + some.randrange(100)] * some.choice((2, 3, 50)) + data[at:]


def _truncate(some: random.Random, data: bytes) -> bytes:
    return data[: some.randrange(len(data) + 1)]


SPOILERS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flip,
    _flip,
    _drop,
    _insert,
    _insert,
    _repeat,
    _truncate,
)
