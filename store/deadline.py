"""The time by which the calls of a thread must be answered, where their caller sets one.

A call has `shards.TIMEOUT` anyway. Who makes several of them, as after a commit, has one time for all. It is the
thread's and no parameter, because redis-py hands its connections nothing from their callers. Coroutines have
`asyncio.timeout` for this.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any, cast

import redis
from redis.connection import AbstractConnection

SHORTEST = 0.001  # seconds: to a socket 0 means not to wait at all, and to fail in another way


class _Thread(threading.local):
    by: float | None = None


_thread = _Thread()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Calls of this thread in the block are answered within so many seconds from now, or raise StoreSilent."""
    before, by = _thread.by, time.monotonic() + seconds
    _thread.by = by if before is None else min(before, by)
    try:
        yield
    finally:
        _thread.by = before


def deadline() -> float | None:
    """By when this thread's calls are to be answered (of time.monotonic()), for another thread that calls for it."""
    return _thread.by


@contextmanager
def carried(by: float | None) -> Iterator[None]:
    """Calls of this thread in the block keep another thread's `deadline`."""
    before, _thread.by = _thread.by, by
    try:
        yield
    finally:
        _thread.by = before


def bounded(seconds: float) -> float:
    """So many seconds, or what is left until the deadline if that is less; above 0 in any case."""
    return seconds if _thread.by is None else min(seconds, max(SHORTEST, _thread.by - time.monotonic()))


class Timed(AbstractConnection):
    """What makes redis-py's connections of threads keep the deadline: put it before the class of one.

    A connection whose answer did not come in time is closed, for it would be taken for the answer to a later call;
    redis-py leaves those behind sentinels open.
    """

    _socket_timeout: float
    _socket_connect_timeout: float

    @property
    def socket_timeout(self) -> float:
        """Seconds that one read or write may take."""
        return bounded(self._socket_timeout)

    @socket_timeout.setter
    def socket_timeout(self, value: float) -> None:
        self._socket_timeout = value

    @property
    def socket_connect_timeout(self) -> float:
        """Seconds that it may take to connect."""
        return bounded(self._socket_connect_timeout)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, value: float) -> None:
        self._socket_connect_timeout = value

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """As redis-py's, within the deadline."""
        self._keep_deadline()
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """As redis-py's, within the deadline."""
        self._keep_deadline()
        try:
            return super().read_response(*arguments, **options)
        except redis.TimeoutError:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise

    def socket_in_time(self) -> socket:
        """Its open socket, on which the next read or write is given up when it takes too long."""
        self._keep_deadline()
        return cast(socket, self._sock)

    def _keep_deadline(self) -> None:
        if self._sock is not None and self._sock.gettimeout() != (seconds := self.socket_timeout):
            self._sock.settimeout(seconds)
