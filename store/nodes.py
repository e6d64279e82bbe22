"""The servers behind shards: each shard's own, but in a cluster, where several virtual shards are on one node.

For whatever is a server's and not a shard's: its memory, its files, how long it runs. A node is called by its host and
port, as the cluster calls it; a Redis that is no node by its number.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from redis.exceptions import RedisError

from flotilla.store.cluster import SlotGuide
from flotilla.store.errors import StoreUnavailable
from flotilla.store.pools import guide_of
from flotilla.store.shards import Shard

Server = tuple[str, Shard]
"""What a server is called, and a shard that is there."""


async def servers_of(shards: Sequence[Shard]) -> list[Server]:
    """The servers that have some shards. A shard whose node nobody says stands alone, under its number."""
    for guide in _unknown(shards):
        with suppress(RedisError, StoreUnavailable):
            await guide.discover_master("")
    return _known(shards)


def servers_of_sync(shards: Sequence[Shard]) -> list[Server]:
    """The same for threads."""
    for guide in _unknown(shards):
        with suppress(RedisError, StoreUnavailable):
            guide.discover_master_sync()
    return _known(shards)


def name_of(shard: Shard) -> str:
    """What the server of a shard is called, as far as that is known."""
    return node_of(shard) or str(shard.index)


def node_of(shard: Shard) -> str:
    """Host and port of the node that has a virtual shard of a cluster; "" while nobody knows it, and elsewhere."""
    guide = guide_of(shard.url)
    return guide.name() if isinstance(guide, SlotGuide) else ""


def _unknown(shards: Iterable[Shard]) -> Iterator[SlotGuide]:
    for shard in shards:
        guide = guide_of(shard.url)
        if isinstance(guide, SlotGuide) and guide.known_master() is None:
            yield guide


def _known(shards: Iterable[Shard]) -> list[Server]:
    found: dict[str, Server] = {}
    for shard in shards:
        found.setdefault(node_of(shard) or shard.url, (name_of(shard), shard))
    return list(found.values())
