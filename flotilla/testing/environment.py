"""What a test has to itself: names in Redis, connections, and the node that serves its clients.

The node begins with the first client of a test and ends with its last one, in the test's own event loop.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flotilla.conf import set_for_this_process
from flotilla.ratelimit.service import current_limits, reset_limits
from flotilla.realtime.node.node import current_node, forget_node, get_node
from flotilla.store import in_process, isolation, test_run
from flotilla.store.address import MEMORY
from flotilla.store.shards import current_store, reset_store
from flotilla.testing.relay import begin as begin_relay
from flotilla.testing.relay import end as end_relay

JOIN_WITHIN = 10.0  # seconds until the node hears what is published

_depth = 0
_clients: dict[asyncio.AbstractEventLoop, set[int]] = {}


@contextmanager
def isolated() -> Iterator[None]:
    """Nothing of what was written before is there, and nothing of what is written is there afterwards. Durable
    publications are sent at their commit.

    Names in Redis are other ones, and the engine in the process is emptied. A block in a block changes nothing.
    """
    global _depth
    test_run.begin()
    if _depth == 0:
        _forget()
        isolation.renew()
        begin_relay()
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _depth == 0:
            end_relay()
            _forget()
            isolation.renew()


def use_process_engine(**values: Any) -> None:
    """Use the engine in this process from now on, whatever the settings say of a Redis."""
    set_for_this_process(redis_url=MEMORY, rate_limit_redis_url=MEMORY, **values)


def _forget() -> None:
    """Forget connections and what was learned of Redis; the engine in the process forgets everything."""
    node = current_node()
    if node is not None:  # of a loop that has ended
        forget_node(node)
    _clients.clear()
    limits, store = current_limits(), current_store()
    reset_limits()
    reset_store()
    if limits is not None:
        limits.limiter.shard.close_sync()
        limits.limiter.sync_shard.close_sync()
    for shard in store.shards if store is not None else ():
        shard.close_sync()
    in_process.forget()


async def enter(client: object) -> None:
    """A client is about to connect: the node is there, and hears what is published."""
    loop = asyncio.get_running_loop()
    known = _clients.setdefault(loop, set())
    if not known and (stale := current_node()) is not None:  # of a loop that has ended
        forget_node(stale)
    known.add(id(client))
    node = await get_node()
    if not await node.joined_within(JOIN_WITHIN):
        raise AssertionError("the node could not join its cluster: does Redis answer?")


async def leave(client: object) -> None:
    """A client is gone; with the last one the node ends."""
    loop = asyncio.get_running_loop()
    known = _clients.get(loop, set())
    if id(client) not in known:
        return
    known.discard(id(client))
    if not known:
        del _clients[loop]
        if (node := current_node()) is not None:
            await node.close()
