"""A response without an end as a client's socket: on our server the connection itself, elsewhere through ASGI."""

import asyncio
from typing import Any, TypeAlias

from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.server.response_stream import ResponseStream
from flotilla.realtime.server.sockets import AsgiSocket, Send


class AsgiStream(AsgiSocket):
    """Writes parts of a body through ASGI `send`. `ended`: nothing more can be written."""

    __slots__ = ("ended",)

    def __init__(self, send: Send, max_unsent: int) -> None:
        super().__init__(send, max_unsent)
        self.ended = asyncio.Event()

    def adopt(self, receiver: Any) -> None:
        """Who the response belongs to is told of its end by the application, which waits for it."""

    async def _give(self, frame: Frame) -> None:
        await self._send({"type": "http.response.body", "body": frame.wire, "more_body": True})

    async def _close(self, code: int, reason: str) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _write(self) -> None:
        try:
            await super()._write()
        finally:
            if self._closed:
                self.ended.set()


ResponseSocket: TypeAlias = ResponseStream | AsgiStream
