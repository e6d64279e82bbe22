"""Looking at presence without taking part in it: for views, commands and other code outside a running instance."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flotilla.presence import keys
from flotilla.presence.entries import MOST, infos_of, parts_of, require_few
from flotilla.presence.keys import home_of
from flotilla.presence.leases import Leases
from flotilla.store import Store


class Member(NamedTuple):
    """An entry as it stands: whose it is, which incarnation vouches for it, and what others see of it (JSON)."""

    client: str
    incarnation: str
    user: str
    info: bytes


def members(store: Store, scope: str, most: int = MOST) -> dict[str, bytes]:
    """Everyone in a scope: client → info. Raises StoreUnavailable, and TooMany where there are more than `most`."""
    home = home_of(scope)
    shard = store.shard_for(home.placement)
    require_few(shard.execute_sync("HLEN", home.entries), most)
    return infos_of(shard.execute_sync("HGETALL", home.entries))


async def amembers(store: Store, scope: str, most: int = MOST) -> dict[str, bytes]:
    """`members` for coroutines."""
    home = home_of(scope)
    shard = store.shard_for(home.placement)
    require_few(await shard.execute("HLEN", home.entries), most)
    return infos_of(await shard.execute("HGETALL", home.entries))


async def astats(store: Store, scope: str) -> tuple[int, int]:
    """(connections, distinct users) of a scope, in constant time. Raises StoreUnavailable."""
    home = home_of(scope)
    shard = store.shard_for(home.placement)
    clients, users = shard.call("HLEN", home.entries), shard.call("HLEN", home.users)
    return int(await clients), int(await users)


def stats(store: Store, scopes: Sequence[str]) -> list[tuple[int, int]]:
    """`astats` of several scopes for threads, one round trip a Redis."""
    homes = [home_of(scope) for scope in scopes]
    asked = [(home.placement, ("HLEN", key)) for home in homes for key in (home.entries, home.users)]
    sizes = [int(size) for size in store.batch_sync(asked)]
    return list(zip(sizes[::2], sizes[1::2], strict=True))


def some_members(store: Store, scope: str, cursor: str, count: int) -> tuple[list[Member], str]:
    """About `count` of those in a scope, and the cursor of those that follow ("": none). Somebody who comes or goes
    meanwhile may be missing, or told twice; nobody else is. Raises StoreUnavailable."""
    home = home_of(scope)
    shard = store.shard_for(home.placement)
    following, flat = shard.execute_sync("HSCAN", home.entries, cursor or "0", "COUNT", count)
    found = [Member(client.decode(), *parts_of(value)) for client, value in zip(flat[::2], flat[1::2], strict=True)]
    return found, "" if following == b"0" else following.decode()


async def instances(store: Store) -> list[dict[str, Any]]:
    """What each living process says of itself, and its "incarnation". Raises StoreUnavailable."""
    return await Leases(store, ttl=0, key_ttl=1).alive()


def scopes_of(store: Store, incarnation: str, most: int) -> list[str]:
    """Up to `most` scopes in which an incarnation may have entries, as Redis has them: also of one that answers nothing
    any more. Raises StoreUnavailable."""
    found: dict[str, None] = {}
    cursor = b"0"
    while len(found) < most:
        cursor, page = store.first.execute_sync("SSCAN", keys.registered(incarnation), cursor, "COUNT", 500)
        found.update((scope.decode(), None) for scope in page)
        if cursor == b"0":
            break
    return list(found)[:most]
