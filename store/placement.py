"""Where a name lives: its partition, its group in the channel layer, its keys.

Names come from clients and may hold anything (a `}` would break a hash tag, and the layer checks nothing), so they are
hashed; where the original is needed, the message or value carries it. Every name belongs to one of a fixed number of
partitions: its keys carry the partition's hash tag, so that a script that touches a name and its partition touches one
tag (see `partitions`). What follows from another name, and is written with it in one step, lives beside it.

In a cluster a name also has a virtual shard, whose hash tag is that of all its keys and of its topic (`slots`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from hashlib import blake2b
from typing import NamedTuple
from zlib import crc32

from flotilla.store.conf import StoreConfig, get_store_config
from flotilla.store.slots import tags

CACHED_PLACEMENTS = 16384
PARTITIONS = 64  # of each Redis, or of all of a cluster; another number moves every key: every stream begins anew
BESIDE = ("$clients:", "$users:")
"""How names begin that live beside the name behind: in its partition, and on its Redis however many there are."""
_RING = 4096  # places of the layer's own hash, by which it chooses the Redis
_NOTHING = bytes(4)


@dataclass(frozen=True, slots=True)
class Placement:
    """The place of one name: `tag` for the channel layer's group, `topic` for Redis PUBLISH, `key` for keys.

    `partition` is None for what belongs to the whole cluster; its keys have a hash tag of their own.
    """

    tag: str
    prefix: str
    partition: int | None = None

    @property
    def group(self) -> str:
        """The channel layer's group name."""
        return self.tag

    @property
    def topic(self) -> str:
        """The Redis pub/sub channel to which the layer subscribes for this group."""
        return f"{self.prefix}__group__{self.tag}"

    def key(self, kind: str) -> str:
        """A key of this name; all of its kinds share one hash tag."""
        if self.partition is None:
            return f"{self.prefix}:{kind}:{{{self.tag}}}"
        return f"{self.prefix}:{kind}:{{p{self.partition}}}:{self.tag}"

    def partition_key(self, kind: str) -> str:
        """A key of this name's partition itself, under the same hash tag as the name's keys."""
        return f"{self.prefix}:{kind}:{{p{self.partition or 0}}}"

    @property
    def marks(self) -> tuple[int, int]:
        """Two numbers below 2^17 that stand for the name in a bitmap of its partition."""
        return int(self.tag[15:20], 16) % 2**17, int(self.tag[10:15], 16) % 2**17


@dataclass(frozen=True, slots=True)
class SlotPlacement(Placement):
    """The place of one name in a cluster: it is on this virtual `shard`, whose hash tag is `slot_tag`."""

    shard: int = 0
    slot_tag: str = ""

    @property
    def group(self) -> str:
        """The channel layer's group name, which has the hash tag for the topic that the layer makes of it."""
        return f"{{{self.slot_tag}}}{self.tag}"

    @property
    def topic(self) -> str:
        """The pub/sub channel; its slot is the shard's."""
        return f"{self.prefix}__group__{{{self.slot_tag}}}{self.tag}"

    def key(self, kind: str) -> str:
        """A key of this name."""
        if self.partition is None:
            return f"{self.prefix}:{kind}:{{{self.slot_tag}}}:{self.tag}"
        return f"{self.prefix}:{kind}:{{{self.slot_tag}}}:p{self.partition}:{self.tag}"

    def partition_key(self, kind: str) -> str:
        """A key of this name's partition itself."""
        return f"{self.prefix}:{kind}:{{{self.slot_tag}}}:p{self.partition or 0}"


def partitions_of(shards: int) -> int:
    """How many partitions a Redis has (`shards` 0), or each of so many virtual shards of a cluster."""
    return max(1, PARTITIONS // shards) if shards else PARTITIONS


def placement_of(name: str) -> Placement:
    """The placement of `name`, the same in every process of the cluster."""
    config, places = get_store_config(), _places
    if places.config is not config:
        places = _renewed(config)
    return places.of(name)


def whole_placement(name: str) -> Placement:
    """The placement of what belongs to all instances together, on the first shard (`Store.first`)."""
    config = get_store_config()
    if not config.virtual_shards:
        return Placement(name, config.prefix)
    return SlotPlacement(name, config.prefix, slot_tag=tags(config.virtual_shards)[0])


def partition_placement(partition: int, shard: int = 0, shards: int = 0) -> Placement:
    """A partition itself: for the keys that it has. In a cluster, of this virtual shard of so many."""
    prefix = get_store_config().prefix
    if not shards:
        return Placement("", prefix, partition)
    return SlotPlacement("", prefix, partition, shard, tags(shards)[shard])


class _Places(NamedTuple):
    """The placements of names as the settings are now: `of` remembers the last of them."""

    config: StoreConfig | None
    of: Callable[[str], Placement]


def _renewed(config: StoreConfig) -> _Places:
    global _places
    placed = partial(_placed, prefix=config.prefix, shards=config.virtual_shards)
    _places = _Places(config, lru_cache(maxsize=CACHED_PLACEMENTS)(placed))
    return _places


def _placed(name: str, prefix: str, shards: int) -> Placement:
    digest = blake2b(name.encode(), digest_size=10)
    if shards:
        return _in_cluster(name, digest.digest(), prefix, shards)
    found = Placement(digest.hexdigest(), prefix, digest.digest()[0] % PARTITIONS)
    return _beside(found, name.partition(":")[2]) if name.startswith(BESIDE) else found


_places = _Places(None, partial(_placed, prefix="", shards=0))


def _in_cluster(name: str, digest: bytes, prefix: str, shards: int) -> SlotPlacement:
    partition, shard = digest[0] % partitions_of(shards), int.from_bytes(digest[1:5]) % shards
    if name.startswith(BESIDE):
        there = _placed(name.partition(":")[2], prefix, shards)
        assert isinstance(there, SlotPlacement) and there.partition is not None
        partition, shard = there.partition, there.shard
    return SlotPlacement(digest.hex(), prefix, partition, shard, tags(shards)[shard])


def _beside(found: Placement, other: str) -> Placement:
    """The placement with a tag that is led to the other name's Redis, whose partition it shares."""
    there = _placed(other, found.prefix, 0)
    wanted, so_far = crc32(there.topic.encode()), crc32(f"{found.topic}.".encode())
    # What CRC-32 makes of a text and a suffix is a sum of what it makes of each.
    suffix = _suffixes()[(wanted ^ crc32(_NOTHING, so_far) ^ crc32(_NOTHING)) % _RING].decode()
    return Placement(f"{found.tag}.{suffix}", found.prefix, there.partition)


@cache
def _suffixes() -> dict[int, bytes]:
    """A suffix for each of the places on the layer's ring; made once, in some 20 ms."""
    found: dict[int, bytes] = {}
    for number in range(0x10000):
        suffix = b"%04x" % number
        found[crc32(suffix) % _RING] = suffix
        if len(found) == _RING:
            return found
    raise AssertionError("no suffix for a place on the ring")
