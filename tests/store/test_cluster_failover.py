"""Masters of a real cluster that die, hang, or hand over: everybody goes to the new one, and nothing is done twice."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from flotilla.store import Placement, Shard, Store, StoreUnavailable, placement_of
from flotilla.store.cluster import SlotGuide
from flotilla.store.pools import guide_of
from flotilla.store.slots import slot_of
from tests.store.redis_cluster import RedisCluster
from tests.store.redis_fleet import Server, wait_for
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

SHARDS = 3
FAILS_OVER_WITHIN = 30.0  # seconds, on a busy machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def shared_cluster(folder: Path) -> Iterator[RedisCluster]:
    made = RedisCluster(folder, 3, 1)
    yield made
    made.close()


@pytest.fixture
def cluster(shared_cluster: RedisCluster) -> RedisCluster:
    """All of its nodes live."""
    for node in shared_cluster.nodes:
        if not node.running:
            node.start()
    wait_for(shared_cluster.whole, "a cluster that is whole", FAILS_OVER_WITHIN)
    return shared_cluster


@pytest_asyncio.fixture
async def store(cluster: RedisCluster, settings: Any) -> AsyncIterator[Store]:
    url = f"{cluster.url}?shards={SHARDS}"
    settings.REDIS_URLS = [url]
    made = Store([url])
    yield made
    await made.close()


def name_in(store: Store, shard: int) -> Placement:
    """The place of a name that lives in this shard."""
    places = (placement_of(f"chat:{number}") for number in range(1000))
    return next(place for place in places if store.shard_for(place).index == shard)


class Callers:
    """A coroutine and a thread that raise a number of a shard, as long as the block lasts; what failed is counted."""

    def __init__(self, shard: Shard, key: str) -> None:
        self._shard, self._key = shard, key
        self.answered, self.failed = [0, 0], [0, 0]
        self._ended = threading.Event()

    async def __aenter__(self) -> "Callers":
        self._tasks = [asyncio.create_task(self._coroutine()), asyncio.create_task(asyncio.to_thread(self._thread))]
        await until(lambda: min(self.answered) > 20)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._ended.set()
        await asyncio.gather(*self._tasks)

    async def more(self) -> None:
        """Wait until both are answered again, several times."""
        seen = [number + 20 for number in self.answered]
        await until(lambda: all(now > then for now, then in zip(self.answered, seen, strict=True)), FAILS_OVER_WITHIN)

    async def _coroutine(self) -> None:
        while not self._ended.is_set():
            try:
                await self._shard.execute("INCR", self._key)
                self.answered[0] += 1
            except StoreUnavailable:
                self.failed[0] += 1
            await asyncio.sleep(0.002)

    def _thread(self) -> None:
        while not self._ended.is_set():
            try:
                self._shard.execute_sync("INCR", self._key)
                self.answered[1] += 1
            except StoreUnavailable:
                self.failed[1] += 1
            time.sleep(0.002)


async def test_a_planned_failover_fails_no_call(cluster: RedisCluster, store: Store) -> None:
    shard, key = store.shards[0], name_in(store, 0).key("planned")
    async with Callers(shard, key) as callers:
        master = cluster.owner(slot_of(0, SHARDS))
        new = await asyncio.to_thread(cluster.fail_over, master)
        await callers.more()
    assert callers.failed == [0, 0]
    assert int(new.ask("GET", key)) == sum(callers.answered)


async def test_a_master_that_is_killed_takes_its_slots_alone_with_it(cluster: RedisCluster, store: Store) -> None:
    away = cluster.owner(slot_of(1, SHARDS))
    others = [number for number in range(SHARDS) if cluster.owner(slot_of(number, SHARDS)) is not away]
    async with Callers(store.shards[1], name_in(store, 1).key("count")) as callers:
        async with Callers(store.shards[others[0]], name_in(store, others[0]).key("count")) as elsewhere:
            away.kill()
            await callers.more()
        assert elsewhere.failed == [0, 0]
    assert min(callers.failed) > 0
    await asyncio.to_thread(away.start)  # with what it knew: it believes to be the master for a moment
    await until(lambda: not away.is_master(), FAILS_OVER_WITHIN)
    assert cluster.owner(slot_of(1, SHARDS)) is not away
    assert await store.shards[1].execute("INCR", name_in(store, 1).key("count")) > 40


async def test_a_master_that_hangs_is_left_for_the_one_that_took_over(cluster: RedisCluster, store: Store) -> None:
    away = cluster.owner(slot_of(2, SHARDS))
    async with Callers(store.shards[2], name_in(store, 2).key("count")) as callers:
        cluster.pause(away)
        try:
            await callers.more()
        finally:
            cluster.go_on(away)
        await callers.more()
    await until(lambda: not away.is_master(), FAILS_OVER_WITHIN)


async def test_known_nodes_are_asked_where_those_of_the_address_are_gone(cluster: RedisCluster, settings: Any) -> None:
    seed = cluster.owner(slot_of(0, SHARDS))
    url = f"redis+cluster://{seed.at}?shards={SHARDS}"
    settings.REDIS_URLS = [url]
    store = Store([url])
    key = name_in(store, 0).key("count")
    before = await store.shards[0].execute("INCR", key)
    seed.kill()

    async def answered() -> Any:
        with suppress(StoreUnavailable):
            return await store.shards[0].execute("INCR", key)

    assert await until(answered, FAILS_OVER_WITHIN) > before
    assert await asyncio.to_thread(store.shards[0].execute_sync, "INCR", key) > before + 1
    await store.close()


async def test_a_lost_connection_is_made_again_before_there_is_a_call(cluster: RedisCluster, store: Store) -> None:
    """Others wait for what this process knows of the partitions, and it may have nothing to call for seconds."""
    shard = store.shards[0]
    await shard.execute("PING")
    before = shard.stats.connects
    await asyncio.to_thread(cluster.owner(slot_of(0, SHARDS)).ask, "CLIENT", "KILL", "TYPE", "normal")
    await until(lambda: shard.stats.connects > before)


async def test_who_is_said_to_have_a_slot_is_asked_before_the_others(cluster: RedisCluster) -> None:
    guide = guide_of(f"{cluster.url}?slot=0&shards={SHARDS}")
    assert isinstance(guide, SlotGuide)
    await guide.discover_master("")
    for node in cluster.nodes:
        for told in (f"MOVED 0 {node.at}", (node.host, node.port)):
            before = times_asked(node)
            guide.ask_first(told)
            await guide.discover_master("")
            assert times_asked(node) > before


async def test_the_master_itself_is_believed_when_it_says_who_has_its_slot_now(cluster: RedisCluster) -> None:
    """Nobody else need have heard of it; and who is not the master may say what it likes."""
    guide = guide_of(f"{cluster.url}?slot=0&shards=4")  # a map that is no other test's
    assert isinstance(guide, SlotGuide)
    master = await guide.discover_master("")
    one, other = [(node.host, node.port) for node in cluster.masters() if (node.host, node.port) != master]
    guide.told_by(one, f"MOVED 0 {other[0]}:{other[1]}")
    assert await guide.discover_master("") == master
    guide.told_by(master, f"MOVED 0 {one[0]}:{one[1]}")
    assert await guide.discover_master("") == one == guide.known_master()
    guide.told_by(one, f"MOVED 0 {other[0]}:{other[1]}")
    assert await guide.discover_master("") == other


def times_asked(node: Server) -> int:
    """How often a node was asked who has which slot."""
    lines = node.ask("INFO", "commandstats").decode().splitlines()
    asked = [line for line in lines if line.startswith("cmdstat_cluster")]
    return sum(int(line.partition("calls=")[2].partition(",")[0]) for line in asked)
