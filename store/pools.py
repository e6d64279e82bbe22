"""Connections to the Redis of an address, for coroutines and for threads: plain, over TLS, or behind guides (`guides`).

The only place that makes connections of the client library, so that every part of the product reads addresses alike.
"""

from collections.abc import Callable
from typing import Any, cast

import redis
import redis.asyncio as aioredis
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.asyncio.sentinel import SentinelManagedConnection as AsyncManaged
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection

from flotilla.store import in_process
from flotilla.store.address import Address, parse
from flotilla.store.cluster import slot_guide
from flotilla.store.deadline import Timed
from flotilla.store.guides import Guide
from flotilla.store.sentinels import sentinels_of
from flotilla.store.tls import AsyncTlsConnection, AsyncTlsMaster, TlsConnection, TlsMaster


def options_of(timeout: float, retry: Any) -> dict[str, Any]:
    """What all connections have: no read, write or connecting takes longer than so many seconds."""
    return {
        "protocol": 2,  # one shape of replies, whatever the server's version
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": retry,
    }


def async_pool(url: str, **options: Any) -> aioredis.ConnectionPool:
    """A pool for coroutines. Raises WrongAddress."""
    address = _reached(url)
    options |= _arguments(address)
    if (guide := _guide(address)) is not None:
        kind = AsyncManaged if address.tls is None else AsyncTlsMaster
        return AsyncSentinelPool(address.master, guide, connection_class=kind, **options)
    plain = aioredis.Connection if address.tls is None else AsyncTlsConnection
    return aioredis.ConnectionPool(
        connection_class=aioredis.UnixDomainSocketConnection if address.path else plain, **options
    )


class _Tcp(Timed, redis.Connection):
    """A connection of threads."""


class _Unix(Timed, redis.UnixDomainSocketConnection):
    """The same over a Unix socket."""


class _Tls(Timed, TlsConnection):
    """The same over TLS."""


class _Master(Timed, SentinelManagedConnection):
    """The same to a master behind guides."""


class _MasterOverTls(Timed, TlsMaster):
    """The same to a master behind guides, over TLS."""


def sync_client(url: str, **options: Any) -> redis.Redis:
    """A client for threads, with a pool of its own; it keeps deadlines (`store.deadline`). Raises WrongAddress."""
    address = _reached(url)
    options |= _arguments(address)
    if (guide := _guide(address)) is not None:
        kind = _Master if address.tls is None else _MasterOverTls
        masters = _OfThreads(guide)
        return redis.Redis.from_pool(SentinelConnectionPool(address.master, masters, connection_class=kind, **options))
    plain = _Tcp if address.tls is None else _Tls
    connection_class = _Unix if address.path else plain
    return redis.Redis.from_pool(redis.ConnectionPool(connection_class=connection_class, **options))


def connections(url: str, **options: Any) -> Callable[[], Timed]:
    """What makes connections for threads, for one thread at a time each (`store.kept`). Raises WrongAddress."""
    pool = sync_client(url, **options).connection_pool  # its own `make_connection` makes no more than a hundred
    return lambda: cast(Timed, pool.connection_class(**pool.connection_kwargs))


def guide_of(url: str) -> Guide | None:
    """Who says where the Redis of an address is; None where the address does. Raises WrongAddress."""
    return _guide(parse(url))


def _guide(address: Address) -> Guide | None:
    if address.master:
        return sentinels_of(address)
    return slot_guide(address) if address.shards else None


class _OfThreads:
    """A guide as redis-py's pools for threads want it."""

    def __init__(self, guide: Guide) -> None:
        self._guide = guide

    def discover_master(self, _: str) -> tuple[str, int]:
        return self._guide.discover_master_sync()


def _reached(url: str) -> Address:
    """Where an address leads to; the engine in the process is started when somebody first connects to it."""
    address = parse(url)
    return parse(in_process.engine().url) if address.in_process else address


def _arguments(address: Address) -> dict[str, Any]:
    found: dict[str, Any] = {"db": address.db, **address.login.options()}
    if address.tls is not None:
        found["tls"] = address.tls
    if address.path:
        return found | {"path": address.path}
    if not address.guided:
        found["host"], found["port"] = address.hosts[0]
    return found
