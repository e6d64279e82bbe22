"""Connections to the Redis of an address, for coroutines and for threads: plain, over TLS, or behind sentinels.

The only place that makes connections of the client library, so that every part of the product reads addresses alike.
"""

from typing import Any

import redis
import redis.asyncio as aioredis
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.sentinel import SentinelConnectionPool

from store.address import Address, parse
from store.sentinels import Sentinels, sentinels_of


def async_pool(url: str, **options: Any) -> aioredis.ConnectionPool:
    """A pool for coroutines. Raises WrongAddress."""
    address = parse(url)
    if address.master:
        return AsyncSentinelPool(address.master, sentinels_of(address), **_arguments(address), **options)
    kinds = (aioredis.UnixDomainSocketConnection, aioredis.SSLConnection, aioredis.Connection)
    return aioredis.ConnectionPool(connection_class=_kind(address, kinds), **_arguments(address), **options)


def sync_client(url: str, **options: Any) -> redis.Redis:
    """A client for threads, with a pool of its own. Raises WrongAddress."""
    address = parse(url)
    if address.master:
        masters = _OfThreads(sentinels_of(address))
        return redis.Redis(
            connection_pool=SentinelConnectionPool(address.master, masters, **_arguments(address), **options)
        )
    kinds = (redis.UnixDomainSocketConnection, redis.SSLConnection, redis.Connection)
    pool = redis.ConnectionPool(connection_class=_kind(address, kinds), **_arguments(address), **options)
    return redis.Redis.from_pool(pool)


def sentinels(url: str) -> Sentinels | None:
    """Those that say where the Redis of an address is; None where the address says it. Raises WrongAddress."""
    address = parse(url)
    return sentinels_of(address) if address.master else None


class _OfThreads:
    """What redis-py's pools for threads ask for a master."""

    def __init__(self, sentinels: Sentinels) -> None:
        self._sentinels = sentinels

    def discover_master(self, _: str) -> tuple[str, int]:
        return self._sentinels.discover_master_sync()


def _kind(address: Address, kinds: tuple[type[Any], type[Any], type[Any]]) -> type[Any]:
    socket, tls, plain = kinds
    return socket if address.path else plain if address.tls is None else tls


def _arguments(address: Address) -> dict[str, Any]:
    found: dict[str, Any] = {"db": address.db, **address.login.options()}
    if address.tls is not None:
        found |= address.tls.options() | ({"ssl": True} if address.master else {})
    if address.path:
        return found | {"path": address.path}
    if not address.master:
        found["host"], found["port"] = address.hosts[0]
    return found
