"""A request whose response is to be a client's connection, as a handshake (`flotilla.realtime.server.direct.Opening`).

Under our server the response takes the connection over, and frames go straight to the socket; under any other they go
through ASGI's `send`, as parts of the body.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from flotilla.realtime.access.cors import Headers, cors_headers
from flotilla.realtime.conf import get_config
from flotilla.realtime.protocol.encodings import Encoding
from flotilla.realtime.protocol.streams import StreamFormat, stream_format
from flotilla.realtime.responses.exchange import Gone, Receive, Scope, Send, answer
from flotilla.realtime.server.response_socket import AsgiStream, ResponseSocket
from flotilla.realtime.server.response_stream import EXTENSION

UNBUFFERED = [(b"cache-control", b"no-store, no-transform"), (b"x-accel-buffering", b"no"),
              (b"x-content-type-options", b"nosniff")]  # fmt: skip
"""What tells proxies to pass on each part as it comes, and as it is."""


class ResponseOpening:
    """One request. Its body was read."""

    __slots__ = ("_content_type", "_receive", "_request", "_send", "scope")

    def __init__(self, scope: Scope, receive: Receive, send: Send, content_type: bytes) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._content_type = content_type
        self._request = (scope.get("extensions") or {}).get(EXTENSION)  # our server's own, or None

    def format(self, encoding: Encoding, put: Callable[[bytes], bytes]) -> StreamFormat:
        """How the client is spoken to."""
        return stream_format(encoding, put, self.is_chunked)

    @property
    def is_chunked(self) -> bool:
        """Whether parts of the body are chunks when they are given to the socket."""
        return self._request is not None and bool(self._request.knows_chunks)

    async def accept(
        self, subprotocol: str | None, max_unsent: int, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> ResponseSocket:
        """Begin the response. Raises Gone when there is nobody to answer."""
        headers = [(b"content-type", self._content_type), *UNBUFFERED, *self._cors(), *headers]
        if self._request is not None:
            stream = self._request.stream(200, headers)
            if stream is None:
                raise Gone
            stream.max_unsent = max_unsent
            return stream  # type: ignore[no-any-return]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"", "more_body": True})  # so that the head leaves
        return AsgiStream(self._send, max_unsent)

    async def reject(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        await answer(self._send, status, [*headers, *self._cors()])

    def _cors(self) -> Headers:
        return cors_headers(self.scope, get_config())

    def gone(self) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(self._left())

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def until_over(self, socket: ResponseSocket) -> bool:
        """Wait until the client has left or the response has ended; False where the socket itself tells that."""
        if not isinstance(socket, AsgiStream):
            return False
        left, ended = self.gone(), asyncio.ensure_future(socket.ended.wait())
        try:
            await asyncio.wait((left, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            ended.cancel()
        return True
