"""A run of tests: it begins with names of its own in Redis (`isolation`), and leaves nothing there when it ends."""

import logging
from collections.abc import Callable, Iterable
from multiprocessing.util import Finalize

from flotilla.store import isolation
from flotilla.store.conf import get_store_config
from flotilla.store.errors import StoreUnavailable
from flotilla.store.nodes import servers_of_sync
from flotilla.store.shards import Shard, get_store

logger = logging.getLogger("flotilla.store.test_run")

also: list[Callable[[], Iterable[Shard]]] = []
"""Other Redises that this run may have written to; the layers above say which."""
_FIRST = 100  # of finalizers: before multiprocessing ends anything of its own


def begin() -> None:
    """This process runs tests, and so do those that are forked from it. Saying it again changes nothing."""
    if not isolation.begun():
        isolation.begin()
        Finalize(None, _remove, exitpriority=_FIRST)


def _remove() -> None:
    """Remove what this run wrote to a real Redis, in whichever of its processes."""
    config = get_store_config()
    if config.in_process or not config.redis_urls:
        return
    try:
        for _, shard in servers_of_sync([*get_store().shards, *(shard for more in also for shard in more())]):
            cursor = b"0"
            while True:  # in portions: others use this Redis as well
                cursor, found = shard.execute_sync("SCAN", cursor, "MATCH", f"*{isolation.mark()}*", "COUNT", 1000)
                shard.batch_sync([("DEL", key) for key in found])  # of a cluster's slots, each is its own
                if cursor == b"0":
                    break
    except StoreUnavailable as error:
        logger.warning("what the tests wrote to Redis could not be removed: %s", error)
