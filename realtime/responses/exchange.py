"""What all these endpoints have in common: methods, bodies within a bound, short answers, and CORS.

An endpoint is an ASGI application that raises `Refused`; `guarded` makes it answer that, and the methods it does not
have, with what the page's origin may read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from flotilla.realtime.access.cors import Headers, cors_headers, header, preflight_headers, why_refused
from flotilla.realtime.conf import get_config

logger = logging.getLogger("flotilla.realtime.responses")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_WITHIN = 10.0  # seconds
OCTETS = b"application/octet-stream"


class Refused(Exception):
    """A request that is answered with a status and a line of text. `headers` are added to the answer."""

    def __init__(self, status: int, why: str, headers: Headers | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers or []


class Gone(Exception):
    """The client has left before its request was whole."""


def guarded(method: str, endpoint: Endpoint) -> Endpoint:
    """An endpoint that has one method, and OPTIONS."""
    methods = (method, "OPTIONS")

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] == "OPTIONS":
                allow = [(b"allow", ", ".join(methods).encode())]
                await answer(send, 204, allow + preflight_headers(scope, get_config(), methods))
            elif scope["method"] != method:
                raise Refused(405, f"this address is for {method}", [(b"allow", ", ".join(methods).encode())])
            else:
                require_origin(scope)
                await endpoint(scope, receive, send)
        except Refused as refused:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), *refused.headers]
            headers += cors_headers(scope, get_config())
            await answer(send, refused.status, headers, f"{refused}\n".encode())
        except Gone:
            pass

    return serve


def require_origin(scope: Scope) -> None:
    """Raise Refused 403 for a page that may not ask."""
    if problem := why_refused(scope, get_config()):
        logger.warning("a request was refused: %s", problem)
        raise Refused(403, "requests from this origin are not allowed")


async def answer(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"") -> None:
    """A whole response."""
    sized = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
    sized += [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    kept = [pair for pair in headers if pair[0] != b"content-length"]
    await send({"type": "http.response.start", "status": status, "headers": [*kept, *sized]})
    await send({"type": "http.response.body", "body": b"" if status == 204 else body})


async def body_of(scope: Scope, receive: Receive, most: int) -> bytes:
    """A request's body. Raises Refused: 413 above `most` bytes, 408 when it does not come; Gone."""
    too_large = Refused(413, f"a body has at most {most} bytes here")
    length = header(scope, b"content-length") or b"0"
    if not length.isdigit() or int(length) > most:
        raise too_large
    found: bytes = b""
    try:
        async with asyncio.timeout(BODY_WITHIN):
            while True:
                event = await receive()
                if event["type"] != "http.request":
                    raise Gone
                found += event.get("body", b"")
                if len(found) > most:
                    raise too_large
                if not event.get("more_body"):
                    return found
    except TimeoutError:
        raise Refused(408, "the body did not come in time") from None


def is_protobuf(scope: Scope) -> bool:
    """Whether the body is said to be Protobuf."""
    return (header(scope, b"content-type") or b"").partition(b";")[0].strip().lower() == OCTETS


def text_of(data: bytes) -> str:
    """Text of a client. Raises Refused 400 for what is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused(400, "UTF-8 is expected") from None


def query_of(scope: Scope) -> dict[str, list[str]]:
    """What the query says. Raises Refused 400 for one that cannot be read."""
    try:
        said = scope.get("query_string", b"").decode("ascii")
        return parse_qs(said, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:  # UnicodeError is one
        raise Refused(400, "the query cannot be read") from None
