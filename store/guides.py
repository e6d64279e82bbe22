"""Who says where a master is now, for addresses that do not name it: sentinels, or the nodes of a cluster.

All talk with them happens in one thread of the process, in an event loop of its own, so that coroutines of any loop and
plain threads are served alike. What is known is the process's: another one after a fork.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Protocol, TypeVar

from redis.asyncio.connection import AbstractConnection, Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flotilla.store.address import Address, Login
from flotilla.store.tls import AsyncTlsConnection, Tls

Value = TypeVar("Value")


class Follower(Protocol):
    """Somebody with connections to a master."""

    def moved(self) -> None:
        """Another server is the master now. Any thread may call it; it must not wait, nor raise."""


class Guide(Protocol):
    """Knows where a master is, and tells who follows when it moves. Any thread may call it."""

    def follow(self, follower: Follower, /) -> None:
        """Tell `follower` from now on; it is forgotten when nobody else holds it."""

    def leave(self, follower: Follower, /) -> None:
        """Tell it no more."""

    async def discover_master(self, service: str, /) -> tuple[str, int]:
        """Host and port of the master, asked for now: for redis-py's pools, whose name for it is not needed.

        Raises redis-py's ConnectionError, or StoreUnavailable.
        """

    def discover_master_sync(self) -> tuple[str, int]:
        """The same for threads."""


@asynccontextmanager
async def connected(
    place: tuple[str, int], login: Login, tls: Tls | None, within: float
) -> AsyncIterator[AbstractConnection]:
    """A connection to a server by its host and port, for as long as it is used; no step takes longer than `within`
    seconds. Raises what redis-py and the system raise."""
    options: dict[str, Any] = {
        "host": place[0],
        "port": place[1],
        "protocol": 2,
        "socket_timeout": within,
        "socket_connect_timeout": within,
        "retry": Retry(NoBackoff(), 0),
        **login.options(),
    }
    connection = Connection(**options) if tls is None else AsyncTlsConnection(tls=tls, **options)
    try:
        await connection.connect()
        yield connection
    finally:
        await connection.disconnect(nowait=True)


class Speaker:
    """The thread that talks with guides: sentinels, and the nodes of clusters."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="flotilla-guides", daemon=True)
        self._thread.start()
        atexit.register(self.end)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            self.loop.run_until_complete(asyncio.wait([task]))
        self.loop.close()

    def end(self) -> None:
        """End it, where the process ends."""
        if self.pid == os.getpid() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(2)

    def run(self, work: Coroutine[Any, Any, Value]) -> "Future[Value]":
        """Have something done in the thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)


_speaker: Speaker | None = None
_lock = threading.RLock()


def _speaker_now() -> Speaker:
    global _speaker
    if _speaker is None or _speaker.pid != os.getpid():
        _speaker = Speaker()
    return _speaker


def of_this_process(make: Callable[[Address, Speaker], Value]) -> Callable[[Address], Value]:
    """For what is made once for an address in a process, with the process's Speaker."""
    known: dict[Address, Value] = {}
    pid = 0

    @wraps(make)
    def found(address: Address) -> Value:
        nonlocal pid
        with _lock:
            if pid != os.getpid():
                known.clear()
                pid = os.getpid()
            if address not in known:
                known[address] = make(address, _speaker_now())
            return known[address]

    return found
