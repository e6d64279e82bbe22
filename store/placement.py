"""Where a name lives: its hash tag, its group in the channel layer, its keys.

Names come from clients and may hold anything (a `}` would break a hash tag, the layer checks nothing), so they are
hashed; whoever needs the original carries it in the message or value.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from django.conf import settings

CACHED_PLACEMENTS = 16384


@dataclass(frozen=True, slots=True)
class Placement:
    """The place of one name: `tag` for keys, `group` for the channel layer, `topic` for Redis PUBLISH."""

    tag: str
    prefix: str

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
        return f"{self.prefix}:{kind}:{{{self.tag}}}"


@lru_cache(maxsize=CACHED_PLACEMENTS)
def place(name: str) -> Placement:
    """The placement of `name`, the same in every process of the cluster."""
    return Placement(blake2b(name.encode(), digest_size=10).hexdigest(), settings.REALTIME_PREFIX)
