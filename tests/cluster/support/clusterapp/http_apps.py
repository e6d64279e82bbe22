"""ASGI applications over HTTP, chosen by the last part of `/generic/<name>`: each does one thing a server must carry.

Numbers come in the query (`?size=1000&pause=0.1`). What an application saw is in `seen`, which `/generic/seen` tells.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

PIECE = b"0123456789abcdef" * 4096  # 64 KiB
TEXT = (b"content-type", b"text/plain")
seen: list[str] = []  # what happened in applications, in order
_awake = asyncio.Event()  # `deaf` may answer

App = Callable[[Any, Any, Any], Awaitable[None]]


def number(scope: Any, name: str, default: float) -> float:
    """A number of the query; the default for what is none."""
    try:
        return float(dict(parse_qsl(scope["query_string"].decode())).get(name, default))
    except ValueError:
        return default


async def start(send: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [TEXT, *headers]})


async def part(send: Any, body: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def tell(send: Any, value: Any) -> None:
    body = json.dumps(value).encode()
    await start(send, 200, (b"content-length", b"%d" % len(body)))
    await part(send, body, False)


async def read_whole(receive: Any) -> list[bytes] | None:
    """The pieces of the body; None when the client went before its end."""
    pieces = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        pieces.append(event.get("body", b""))
        if not event.get("more_body"):
            return pieces


async def request(scope: Any, receive: Any, send: Any) -> None:
    """Tells what it was asked, with the body."""
    pieces = await read_whole(receive)
    if pieces is None:
        seen.append("request without its end")
        return
    names = ("method", "path", "root_path", "http_version", "scheme")
    told = {name: scope[name] for name in names} | {"raw_path": scope["raw_path"].decode("latin-1")}
    told["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    told |= {"query": scope["query_string"].decode("latin-1"), "body": b"".join(pieces).decode("latin-1")}
    await tell(send, told)


async def sink(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body piece by piece and keeps nothing of it."""
    count = size = largest = 0
    digest = sha256()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            seen.append(f"sink lost its client after {size}")
            return
        body = event.get("body", b"")
        digest.update(body)
        count, size, largest = count + 1, size + len(body), max(largest, len(body))
        if not event.get("more_body"):
            break
    await tell(send, {"size": size, "pieces": count, "largest": largest, "sha256": digest.hexdigest()})


async def source(scope: Any, receive: Any, send: Any) -> None:
    """Sends `size` bytes, of known length unless `known=0`."""
    left = int(number(scope, "size", 1 << 20))
    known = [(b"content-length", b"%d" % left)] if number(scope, "known", 1) else []
    await start(send, 200, *known)
    while left > 0:
        await part(send, PIECE[:left], left > len(PIECE))
        left -= len(PIECE)
    seen.append("source came to its end")


async def lump(scope: Any, receive: Any, send: Any) -> None:
    """Sends `size` bytes as one."""
    await start(send)
    await part(send, bytes(int(number(scope, "size", 1 << 20))), False)


async def events(scope: Any, receive: Any, send: Any) -> None:
    """`count` lines, one every `pause` seconds, without a length."""
    await start(send)
    for index in range(int(number(scope, "count", 3))):
        await part(send, b"event %d\n" % index)
        await asyncio.sleep(number(scope, "pause", 0))
    await part(send, b"the end\n", False)


async def breaks(scope: Any, receive: Any, send: Any) -> None:
    """Fails when half of it is sent."""
    await start(send)
    await part(send, b"half of it")
    raise RuntimeError("as it always does, after the start")


async def fails(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("as it always does, before the start")


async def returns(scope: Any, receive: Any, send: Any) -> None:
    """Returns in the middle of its response."""
    await start(send)
    await part(send, b"half of it")


async def short(scope: Any, receive: Any, send: Any) -> None:
    """Says ten bytes, and sends five."""
    await start(send, 200, (b"content-length", b"10"))
    await part(send, b"12345", False)


async def long(scope: Any, receive: Any, send: Any) -> None:
    """Says five bytes, and sends ten."""
    await start(send, 200, (b"content-length", b"5"))
    with contextlib.suppress(Exception):
        await part(send, b"1234567890", False)


async def splits(scope: Any, receive: Any, send: Any) -> None:
    """A header that would be two."""
    await start(send, 200, (b"x-split", b"a\r\nx-evil: 1"))
    await part(send, b"", False)


async def status(scope: Any, receive: Any, send: Any) -> None:
    """The status `code`, with a body that some of them may not have."""
    code = int(number(scope, "code", 200))
    await start(send, code if 200 <= code < 1000 else 200)
    await part(send, b"a body", False)


async def unread(scope: Any, receive: Any, send: Any) -> None:
    """Refuses without a look at the body."""
    await start(send, 401, (b"content-length", b"2"))
    await part(send, b"no", False)


async def never(scope: Any, receive: Any, send: Any) -> None:
    """Begins no response, until its client is gone or it is ended."""
    try:
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        seen.append("never was told of the end")
    except asyncio.CancelledError:
        seen.append("never was cancelled")
        raise


async def deaf(scope: Any, receive: Any, send: Any) -> None:
    """Takes nothing of its body, and answers when somebody asks for `wake`."""
    _awake.clear()
    await _awake.wait()
    await tell(send, "deaf")


async def wake(scope: Any, receive: Any, send: Any) -> None:
    """Lets `deaf` answer."""
    _awake.set()
    await tell(send, "awake")


async def later(scope: Any, receive: Any, send: Any) -> None:
    """Takes `pause` seconds until it answers."""
    await asyncio.sleep(number(scope, "pause", 0.3))
    await tell(send, "later")


async def closing(scope: Any, receive: Any, send: Any) -> None:
    """Wants the connection closed."""
    await start(send, 200, (b"connection", b"close"), (b"content-length", b"3"))
    await part(send, b"bye", False)


async def remembered(scope: Any, receive: Any, send: Any) -> None:
    await tell(send, seen)


HTTP_APPS: dict[str, App] = {
    one.__name__: one
    for one in (
        *(request, sink, source, events, breaks, fails, returns, short, long),
        *(splits, status, unread, lump, never, deaf, wake, later, closing),
    )
} | {"seen": remembered}
