"""Redis access below every app: where a name lives, scripts, pipelined calls, and their synchronous twin.

The package knows nothing of channels, presence or limits. It keeps one promise for all of them: the keys of one name
share one hash tag and live on the Redis to which the channel layer's own sharding sends that name's group.
"""

from flotilla.store.backoff import Backoff, jittered
from flotilla.store.errors import StoreRefused, StoreUnavailable, reading
from flotilla.store.placement import Placement, place
from flotilla.store.replies import ReplyStream
from flotilla.store.scripts import Script
from flotilla.store.shards import Shard, Store, get_store
from flotilla.store.supervised import supervised

__all__ = [
    "Backoff",
    "Placement",
    "ReplyStream",
    "Script",
    "Shard",
    "Store",
    "StoreRefused",
    "StoreUnavailable",
    "get_store",
    "jittered",
    "place",
    "reading",
    "supervised",
]
