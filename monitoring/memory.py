"""How full each Redis is, whether it throws keys away when it is, and whether it can write its files: looked at every
few seconds, told as metrics. Of a cluster, each node that has a part of the keys is looked at once.

A policy that evicts takes leases, positions and streams as readily as anything else, so it is a warning in the log as
soon as it is seen. INFO says it all; CONFIG GET is refused by many who run Redis for others.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning, register

from flotilla.ratelimit.conf import LIMITS, limits_apart, limits_redis_url
from flotilla.ratelimit.service import get_limits
from flotilla.store import Shard, StoreUnavailable, get_store, reading
from flotilla.store.conf import get_store_config
from flotilla.store.nodes import Server, servers_of, servers_of_sync
from flotilla.store.supervised import SupervisedTask
from flotilla.store.urls import expanded

logger = logging.getLogger("flotilla.monitoring.memory")

EVERY = 10.0  # seconds
SAFE = "noeviction"
_WRITES = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
ASK_WITHIN = 2.0  # seconds a system check waits for a Redis
MEND = f"set maxmemory-policy to {SAFE} (docs/OPERATIONS.md#redis_evicting)"


class Memory(NamedTuple):
    """Of one Redis: bytes in use, bytes it may use (0: any), its `maxmemory-policy`, whether its last attempt to write
    a snapshot or its append-only file failed, and how many keys it has thrown away."""

    used: int
    most: int
    policy: str
    failing: bool = False
    evicted: int = 0

    @property
    def evicting(self) -> bool:
        """Whether it throws keys away when it is full."""
        return self.policy != SAFE


def read(info: bytes) -> Memory:
    """From the answer to INFO. Raises StoreUnavailable where it does not say how its memory is."""
    with reading("INFO"):
        lines = (line.strip().partition(":") for line in info.decode().splitlines())
        told = {name: value for name, _, value in lines}
        return Memory(
            int(told["used_memory"]),
            int(told["maxmemory"]),
            told["maxmemory_policy"],
            failing=any(told.get(name, "ok") != "ok" for name in _WRITES),
            evicted=int(told.get("evicted_keys", 0)),
        )


def complaint(name: str, memory: Memory) -> str:
    """What is wrong with a policy that evicts, in one line."""
    return (
        f"Redis {name} throws keys away when its memory is full (maxmemory-policy {memory.policy}): "
        "leases, presence and history could vanish at any moment"
    )


class MemoryWatch(SupervisedTask):
    """Looks from `start` to `stop`. `known` has what each Redis said last; who does not answer is not in it."""

    def __init__(self) -> None:
        super().__init__("redis-memory", self._watch)
        self.known: dict[str, Memory] = {}
        self._warned: dict[str, str] = {}

    async def look(self) -> None:
        """Ask each Redis once."""
        redises = [*await servers_of(get_store().shards), *_of_limits()]
        for gone in self.known.keys() - {name for name, _ in redises}:  # a node that has nothing of ours any more
            self.known.pop(gone, None)
        await asyncio.gather(*(self._ask(name, shard) for name, shard in redises))

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def _ask(self, name: str, shard: Shard) -> None:
        try:
            found = read(await shard.execute("INFO"))
        except StoreUnavailable:
            self.known.pop(name, None)
            return
        self.known[name] = found
        if found.evicting and self._warned.get(name) != found.policy:
            logger.warning("%s; %s", complaint(name, found), MEND)
        self._warned[name] = found.policy


def _of_limits() -> Iterator[Server]:
    if limits_apart():
        yield LIMITS, get_limits().limiter.shard


memory_watch = MemoryWatch()


@register("redis", deploy=True)
def check_eviction(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Each Redis that can be asked now and would throw keys away."""
    urls = get_store_config().redis_urls
    shards = [Shard(index, url, ASK_WITHIN) for index, url in enumerate(expanded(urls) if urls else ())]
    limits = [Shard(0, limits_redis_url(), ASK_WITHIN)] if limits_apart() else []
    try:
        return list(_complaints([*servers_of_sync(shards), *((LIMITS, shard) for shard in limits)]))
    finally:
        for shard in (*shards, *limits):
            shard.close_sync()


def _complaints(servers: Iterable[Server]) -> Iterator[CheckMessage]:
    for name, shard in servers:
        try:
            found = read(shard.execute_sync("INFO"))
        except StoreUnavailable:
            continue  # a system check asks nobody to be there
        if found.evicting:
            yield Warning(f"{complaint(name, found)}.", hint=f"S{MEND[1:]}.", id="flotilla_monitoring.W001")
