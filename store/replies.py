"""The replies that come over one of redis-py's connections, as they come.

redis-py reads one reply at a time, with a coroutine or two for each. Here everything that one read brought is parsed at
once, in C, and handed over before the loop does anything else. Nobody else may read from the connection from then on.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Self

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from flotilla.store.errors import refused

MAX_AT_ONCE = 64 * 1024  # bytes
_NOT_YET = object()

Take = Callable[[list[Any]], list[Any] | None]
"""Takes the replies of one read, in order; gives back those it leaves for `read`. An error it raises is the end."""


class ReplyStream(asyncio.BufferedProtocol):
    """The replies of an open connection, made with `over`. Error replies are StoreRefused objects in the lists; they
    are not raised."""

    def __init__(self, connection: AbstractConnection, take: Take) -> None:
        self._connection = connection
        self._take = take
        self._stream: Any = connection._reader
        self._transport: Any = connection._writer.transport  # type: ignore[union-attr]
        self._before = self._transport.get_protocol()
        self._parser = hiredis.Reader(replyError=refused, notEnoughData=_NOT_YET, errors="replace")
        self._buffer = memoryview(bytearray(MAX_AT_ONCE))  # TLS writes into slices of it
        self._left: list[Any] = []
        self._end: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None

    @classmethod
    async def over(cls, connection: AbstractConnection, take: Take) -> Self:
        """Read a connection from now on."""
        replies = cls(connection, take)
        stream, transport = replies._stream, replies._transport
        ended = stream.at_eof() or transport.is_closing()
        transport.set_protocol(replies)
        stream.feed_eof()
        replies._feed(memoryview(await stream.read()))  # what has come already, which is not waited for
        if ended:
            replies.eof_received()
        return replies

    @property
    def current(self) -> bool:
        """Whether the connection is still the one this was made for."""
        return self._stream is not None and self._connection._reader is self._stream

    async def read(self) -> list[Any]:
        """The replies that were left, one at least, in order. Raises redis-py's ConnectionError, OSError, hiredis's
        ProtocolError, or what `take` raised, when the connection is lost, given up, or sends something that is no
        reply."""
        while not self._left:
            if self._end is not None:
                raise self._end
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        left, self._left = self._left, []
        return left

    def write(self, packed: bytes) -> None:
        """Send commands."""
        self._transport.write(packed)

    # Called by the transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._feed(self._buffer[:nbytes])

    def _feed(self, data: memoryview) -> None:
        if self._end is not None or not data:
            return
        try:
            self._parser.feed(data)  # type: ignore[arg-type]  # any buffer, whatever its stub says
            found = []
            while (reply := self._parser.gets()) is not _NOT_YET:
                found.append(reply)
            left = self._take(found) if found else None
        except Exception as error:  # noqa: BLE001  nobody may wait for what does not come any more
            self._ends(error)
        else:
            if left:
                self._left += left
                self._wake()

    def eof_received(self) -> None:
        self._ends(RedisConnectionError("closed by the other side"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends(exc or RedisConnectionError("closed"))
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()

    def _ends(self, error: Exception) -> None:
        if self._end is None:
            self._end = error
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
