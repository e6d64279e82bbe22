"""Looking at presence without taking part in it: for views, commands and other code outside a running instance."""

from collections.abc import Sequence
from typing import Any

from presence.entries import info_of
from presence.keys import home_of
from presence.leases import Leases
from store import Store


def members(store: Store, scope: str) -> dict[str, bytes]:
    """Everyone in a scope: client → info. Raises StoreUnavailable."""
    home = home_of(scope)
    return _members(store.shard_for(home.placement).execute_sync("HGETALL", home.entries))


async def amembers(store: Store, scope: str) -> dict[str, bytes]:
    """`members` for coroutines."""
    home = home_of(scope)
    return _members(await store.shard_for(home.placement).execute("HGETALL", home.entries))


async def astats(store: Store, scope: str) -> tuple[int, int]:
    """(connections, distinct users) of a scope, in constant time. Raises StoreUnavailable."""
    home = home_of(scope)
    shard = store.shard_for(home.placement)
    clients, users = shard.execute("HLEN", home.entries), shard.execute("HLEN", home.users)
    return int(await clients), int(await users)


async def instances(store: Store) -> list[dict[str, Any]]:
    """What each living process says of itself, and its "incarnation". Raises StoreUnavailable."""
    return await Leases(store, ttl=0, key_ttl=1).alive()


def _members(flat: Sequence[bytes]) -> dict[str, bytes]:
    return {client.decode(): info_of(value) for client, value in zip(flat[::2], flat[1::2], strict=True)}
