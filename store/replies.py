"""The replies that come over one of redis-py's connections, read in pieces as large as they come.

redis-py reads one reply at a time, with a coroutine or two for each. Here everything that one read brought is parsed at
once, in C. Nobody else may read from the connection meanwhile.
"""

from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from flotilla.store.errors import refused

MAX_AT_ONCE = 256 * 1024  # bytes
_NOT_YET = object()


class ReplyStream:
    """The replies of an open connection. Error replies are StoreRefused objects in the list; they are not raised."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._stream: Any = connection._reader
        self._parser = hiredis.Reader(replyError=refused, notEnoughData=_NOT_YET, errors="replace")

    @property
    def current(self) -> bool:
        """Whether the connection is still the one this was made for."""
        return self._stream is not None and self._connection._reader is self._stream

    async def read(self) -> list[Any]:
        """Whole replies, one at least, in order. Raises redis-py's ConnectionError, OSError, or hiredis's
        ProtocolError, when the connection is lost or sends something that is no reply."""
        found: list[Any] = []
        while not found:
            data = await self._stream.read(MAX_AT_ONCE)
            if not data:
                raise RedisConnectionError("closed by the other side")
            self._parser.feed(data)
            while (reply := self._parser.gets()) is not _NOT_YET:
                found.append(reply)
        return found
