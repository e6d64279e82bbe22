"""Where names live on whatever engine the tests run, for tests that look at Redis themselves."""

from flotilla.store import Placement
from flotilla.store.conf import get_store_config
from flotilla.store.placement import partition_placement, partitions_of


def partitions() -> list[Placement]:
    """The place of every partition, of all shards of a cluster."""
    shards = get_store_config().virtual_shards
    each = range(partitions_of(shards))
    return [partition_placement(number, shard, shards) for shard in range(max(1, shards)) for number in each]
