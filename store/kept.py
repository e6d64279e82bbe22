"""The connections to one Redis that threads share: each is one thread's for a round trip, and is kept for the next.

redis-py makes them: addresses, TLS, logins, sentinels. What is asked over them goes straight to the socket and is
parsed by hiredis, as coroutines do (`replies`), for redis-py's client takes several times as long for a call as Redis.

A connection is kept only when its replies have all been read, so nothing of one call is left for another. One that
proves lost when it is used again may have been closed while nobody used it: that call is sent once more, over a new
one. A process that was forked has none of its parent's.
"""

import os
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from flotilla.store.deadline import Timed
from flotilla.store.errors import refused

READ = 16 * 1024  # bytes of a connection's buffer
_NOT_YET = object()


class Kept:
    """Connections that `make` makes, which need not be connected yet. Safe in threads."""

    def __init__(self, make: Callable[[], Timed]) -> None:
        self._make = make
        self._idle: deque[_Line] = deque()  # the one that was used last is used next
        self._process = os.getpid()
        self._ended = False

    def exchange(self, packed: bytes, count: int) -> list[Any]:
        """Send some commands, and give their `count` replies: error replies are StoreRefused objects among them.

        Raises RedisError or OSError: there is no connection, it was lost, or it is silent (a TimeoutError of either).
        """
        line = self._taken()
        if line is not None:
            try:
                return self._over(line, packed, count)
            except TimeoutError:  # which is an OSError too: nobody waits twice for a silent Redis
                raise
            except (RedisConnectionError, OSError):
                pass
        return self._over(_Line(self._make()), packed, count)

    def close_idle(self) -> None:
        """Close those that nobody uses at the moment."""
        while (line := self._taken()) is not None:
            line.close()

    def close(self) -> None:
        """Close them all: those in use, when their round trip is over."""
        self._ended = True
        self.close_idle()

    def _over(self, line: "_Line", packed: bytes, count: int) -> list[Any]:
        try:
            replies = line.exchange(packed, count)
        except BaseException:
            line.close()
            raise
        self._idle.append(line)
        if self._ended:
            self.close_idle()
        return replies

    def _taken(self) -> "_Line | None":
        if self._process != os.getpid():
            self._idle, self._process = deque(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None


class _Line:
    """One connection, made and greeted."""

    __slots__ = ("_buffer", "_connection", "_parser")

    def __init__(self, connection: Timed) -> None:
        connection.connect()  # type: ignore[no-untyped-call]
        self._connection = connection
        self._buffer = bytearray(READ)
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse, replyError=refused, notEnoughData=_NOT_YET, errors="replace"
        )

    def exchange(self, packed: bytes, count: int) -> list[Any]:
        connection, parser = self._connection, self._parser
        connection.socket_in_time().sendall(packed)
        found: list[Any] = []
        while len(found) < count:
            if (reply := parser.gets()) is not _NOT_YET:
                found.append(reply)
                continue
            size = connection.socket_in_time().recv_into(self._buffer)
            if not size:
                raise RedisConnectionError("closed by the other side")
            parser.feed(self._buffer, 0, size)  # type: ignore[arg-type]  # any buffer, whatever its stub says
        return found

    def close(self) -> None:
        self._connection.disconnect()  # type: ignore[no-untyped-call]
