"""Where a name lives: its partition, its group in the channel layer, its keys.

Names come from clients and may hold anything (a `}` would break a hash tag, and the layer checks nothing), so they are
hashed; where the original is needed, the message or value carries it. Every name belongs to one of a fixed number of
partitions: its keys carry the partition's hash tag, so that a script that touches a name and its partition touches one
tag (see `partitions`).
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from flotilla.store.conf import get_store_config

CACHED_PLACEMENTS = 16384
PARTITIONS = 64  # of each Redis; another number moves every key, so every stream begins anew


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
        return partition_key(self.prefix, kind, self.partition or 0)

    @property
    def marks(self) -> tuple[int, int]:
        """Two numbers below 2^17 that stand for the name in a bitmap of its partition."""
        return int(self.tag[-5:], 16) % 2**17, int(self.tag[-10:-5], 16) % 2**17


def partition_key(prefix: str, kind: str, partition: int) -> str:
    """A key of a partition itself."""
    return f"{prefix}:{kind}:{{p{partition}}}"


def placement_of(name: str) -> Placement:
    """The placement of `name`, the same in every process of the cluster."""
    return _placed(name, get_store_config().prefix)


@lru_cache(maxsize=CACHED_PLACEMENTS)
def _placed(name: str, prefix: str) -> Placement:
    digest = blake2b(name.encode(), digest_size=10)
    return Placement(digest.hexdigest(), prefix, digest.digest()[0] % PARTITIONS)
