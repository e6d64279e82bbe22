"""A run of tests: it begins with names of its own in Redis (`isolation`), and leaves nothing there when it ends."""

import logging
from multiprocessing.util import Finalize

from flotilla.store import isolation
from flotilla.store.conf import get_store_config
from flotilla.store.errors import StoreUnavailable
from flotilla.store.shards import get_store

logger = logging.getLogger("flotilla.store.test_run")

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
        for shard in get_store().shards:
            if found := shard.execute_sync("KEYS", f"*{isolation.mark()}*"):
                shard.execute_sync("DEL", *found)
    except StoreUnavailable as error:
        logger.warning("what the tests wrote to Redis could not be removed: %s", error)
