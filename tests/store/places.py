"""Where names live on whatever engine the tests run, for tests that look at Redis themselves."""

from pathlib import Path

from flotilla.store import Placement
from flotilla.store.conf import get_store_config
from flotilla.store.placement import partition_placement, partitions_of
from tests.store import cluster_process

STORES_OWN = (b"flotilla:partition:", b"flotilla:made:", b"flotilla:layout", b"flotilla:virtual-shards:")
"""How keys begin that stay: of the partitions and of the layout. All others belong to somebody's name."""


def partitions() -> list[Placement]:
    """The place of every partition, of all shards of a cluster."""
    shards = get_store_config().virtual_shards
    each = range(partitions_of(shards))
    return [partition_placement(number, shard, shards) for shard in range(max(1, shards)) for number in each]


def nobody(folder: Path) -> str:
    """An address at which no Redis answers, and under which names live where they do."""
    return "redis+cluster://127.0.0.1:1" if cluster_process.CHOSEN else f"unix://{folder}/nobody.sock"
