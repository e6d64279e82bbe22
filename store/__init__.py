"""Redis access below every app: where a name lives, scripts, pipelined calls, and their synchronous twin.

The package knows nothing of channels, presence or limits. It keeps one promise for all of them: the keys of one name
share one hash tag and live on the Redis to which the channel layer's own sharding sends that name's group.
"""

from flotilla._names import refuse_other_name

refuse_other_name(__name__, "flotilla.store")  # before anything else is imported under that name

from flotilla.store.backoff import Backoff, jittered  # noqa: E402
from flotilla.store.errors import StoreRefused, StoreUnavailable, reading  # noqa: E402
from flotilla.store.placement import Placement, placement_of, whole_placement  # noqa: E402
from flotilla.store.replies import ReplyStream  # noqa: E402
from flotilla.store.scripts import Script  # noqa: E402
from flotilla.store.shards import Shard, Store, get_store  # noqa: E402
from flotilla.store.supervised import supervised  # noqa: E402

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
    "placement_of",
    "reading",
    "supervised",
    "whole_placement",
]
