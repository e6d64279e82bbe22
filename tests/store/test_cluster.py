"""A store in a real cluster: where things live, and slots that move under calls, which stay in order."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from flotilla.ratelimit import keys as limit_keys
from flotilla.ratelimit.conf import limits_redis_url
from flotilla.store import Placement, Script, Shard, Store, StoreRefused, held, placement_of, threads, whole_placement
from flotilla.store.partitions import Partitions
from flotilla.store.slots import key_slot, slot_of
from tests.store.redis_cluster import RedisCluster
from tests.store.redis_fleet import Server
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

SHARDS = 6
PATIENT = 15.0  # seconds a call may take on a busy machine
NEXT = Script("test.next", "return redis.call('RPUSH', KEYS[1], ARGV[1])", needs_partition=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    made = RedisCluster(tmp_path_factory.mktemp("cluster"), 3, 0)
    yield made
    made.close()


@pytest_asyncio.fixture
async def store(cluster: RedisCluster, settings: Any) -> AsyncIterator[Store]:
    url = f"{cluster.url}?shards={SHARDS}"
    settings.REDIS_URLS = [url]
    made = Store([url], PATIENT)
    yield made
    await made.close()


def name_in(store: Store, shard: int) -> Placement:
    """The place of a name that lives in this shard."""
    places = (placement_of(f"chat:{number}") for number in range(1000))
    return next(place for place in places if store.shard_for(place).index == shard)


def elsewhere(cluster: RedisCluster, slot: int) -> Server:
    """A master that does not have a slot."""
    owner = cluster.owner(slot)
    return next(node for node in cluster.nodes if node is not owner)


async def test_names_are_spread_over_all_shards_and_each_stays_in_one_slot(store: Store) -> None:
    for number in range(60):
        place = placement_of(f"chat:{number}")
        keys = [place.key("meta"), place.key("stream"), place.partition_key("partition"), place.topic]
        assert {key_slot(key) for key in keys} == {slot_of(store.shard_for(place).index, SHARDS)}
        assert await store.shard_for(place).execute("SET", place.key("meta"), number) == b"OK"
        assert await asyncio.to_thread(store.shard_for(place).execute_sync, "GET", place.key("meta")) == b"%d" % number
    assert {store.shard_for(placement_of(f"chat:{number}")).index for number in range(60)} == set(range(SHARDS))


async def test_what_belongs_to_all_lives_on_the_first_shard(store: Store) -> None:
    key = whole_placement("leases").key("pl")
    assert key_slot(key) == slot_of(0, SHARDS)
    assert await store.first.execute("INCR", key) == 1
    beside = placement_of("$users:chat:1"), placement_of("chat:1")
    assert store.shard_for(beside[0]) is store.shard_for(beside[1]) and beside[0].partition == beside[1].partition


async def test_partitions_of_all_shards_are_as_many_as_of_one_redis(store: Store) -> None:
    counts = [len(shard.partitions.all) for shard in store.shards if shard.partitions is not None]
    assert counts == [64 // SHARDS] * SHARDS


async def test_calls_under_way_when_a_slot_moves_are_each_executed_once_and_in_order(
    cluster: RedisCluster, store: Store
) -> None:
    shard, key = store.shards[2], name_in(store, 2).key("order")
    await shard.execute("PING")
    target = elsewhere(cluster, slot_of(2, SHARDS))
    replies: list[asyncio.Future[int]] = []
    ended = asyncio.Event()

    async def call() -> None:
        while not ended.is_set() or len(replies) < 3000:
            replies.extend([shard.start(NEXT, [key], [len(replies) + more]) for more in range(5)])
            await asyncio.sleep(0.001)

    caller = asyncio.create_task(call())
    await until(lambda: len(replies) > 500)
    await asyncio.to_thread(cluster.move_slot, slot_of(2, SHARDS), target)
    ended.set()
    await caller
    assert await asyncio.gather(*replies) == list(range(1, len(replies) + 1))
    assert await shard.execute("LRANGE", key, 0, -1) == [b"%d" % number for number in range(len(replies))]
    assert target.ask("CLUSTER", "COUNTKEYSINSLOT", slot_of(2, SHARDS)) > 0
    assert shard.stats.unavailable == shard.stats.refused == 0


async def test_calls_of_threads_wait_for_a_slot_that_moves_and_are_executed_once(
    cluster: RedisCluster, store: Store
) -> None:
    shard, key = store.shards[3], name_in(store, 3).key("order")
    ended = threading.Event()

    def call() -> list[int]:
        replies = []
        while not ended.is_set():
            replies += [shard.run_sync(NEXT, [key], [1]), *shard.batch_sync([("RPUSH", key, 2), ("RPUSH", key, 3)])]
        return replies

    caller = asyncio.create_task(asyncio.to_thread(call))
    await until(lambda: shard.execute_sync("LLEN", key) > 100)
    await asyncio.to_thread(cluster.move_slot, slot_of(3, SHARDS), elsewhere(cluster, slot_of(3, SHARDS)))
    ended.set()
    replies = await caller
    assert replies == list(range(1, len(replies) + 1)) and shard.execute_sync("LLEN", key) == len(replies)


async def test_what_is_not_there_yet_waits_until_its_slot_has_moved(cluster: RedisCluster, store: Store) -> None:
    slot, key = slot_of(4, SHARDS), name_in(store, 4).key("new")
    shard, target = store.shards[4], elsewhere(cluster, slot)
    await shard.execute("PING")
    source = await asyncio.to_thread(cluster.begin_move, slot, target)
    sent_on = refusals(source, "ASK")
    first, later = shard.start(NEXT, [key], ["a"]), shard.start(NEXT, [key], ["b"])
    of_thread = asyncio.create_task(asyncio.to_thread(shard.execute_sync, "SET", f"{key}s", 1))
    other = Shard(4, shard.url, PATIENT, Partitions(None, 4, SHARDS))  # whose greeting wants keys that are not there
    greeted = asyncio.create_task(other.execute("INCR", f"{key}n"))
    await until(lambda: refusals(source, "ASK") >= sent_on + 4)  # each of them was told so
    assert not any(one.done() for one in (first, later, of_thread, greeted))
    await asyncio.to_thread(finish_move, cluster, slot, source, target)
    assert (await first, await later, await of_thread, await greeted) == (1, 2, b"OK", 1)
    assert target.ask("LRANGE", key, 0, -1) == [b"a", b"b"]
    await other.close()


async def test_a_slot_that_stays_on_its_way_is_a_refusal_after_a_while(
    cluster: RedisCluster, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot, shard = slot_of(5, SHARDS), store.shards[5]
    await shard.execute("PING")
    await asyncio.to_thread(shard.execute_sync, "PING")
    target = elsewhere(cluster, slot)
    source = await asyncio.to_thread(cluster.begin_move, slot, target)
    with monkeypatch.context() as short:
        for module in (held, threads):
            short.setattr(module, "HELD_WITHIN", 0.3)
        calls = [shard.execute("GET", name_in(store, 5).key("none")) for _ in range(50)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [one.code for one in answers if isinstance(one, StoreRefused)] == ["ASK"] * 50
        with pytest.raises(StoreRefused, match="ASK"):
            await asyncio.to_thread(shard.execute_sync, "GET", name_in(store, 5).key("none"))
    await asyncio.to_thread(finish_move, cluster, slot, source, target)
    assert await shard.execute("SET", name_in(store, 5).key("none"), 1) == b"OK"


def refusals(node: Server, code: str) -> int:
    """How often a node has answered with an error of this code."""
    lines = node.ask("INFO", "errorstats").decode().splitlines()
    return sum(int(line.partition("count=")[2]) for line in lines if line.startswith(f"errorstat_{code}:"))


def finish_move(cluster: RedisCluster, slot: int, source: Server, target: Server) -> None:
    """All that is left of a slot moves, and everybody is told."""
    cluster.move_keys(source, target, source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000))
    cluster.end_move(slot, source, target)


async def test_a_limiter_has_a_slot_of_its_own(cluster: RedisCluster, settings: Any) -> None:
    settings.RATE_LIMIT_REDIS_URL = cluster.url
    shard = Shard(0, limits_redis_url(), PATIENT)
    slot = key_slot(limit_keys.TAG)
    assert await shard.execute("SET", f"{limit_keys.TAG}:a", 1) == b"OK"
    await asyncio.to_thread(cluster.move_slot, slot, elsewhere(cluster, slot))
    assert await shard.execute("GET", f"{limit_keys.TAG}:a") == b"1"
    assert await asyncio.to_thread(shard.execute_sync, "GET", f"{limit_keys.TAG}:a") == b"1"
    await shard.close()


async def test_another_number_of_virtual_shards_is_refused(cluster: RedisCluster, store: Store) -> None:
    """Their keys would be in other places, and nobody would meet."""
    assert await store.shards[0].execute("PING") == b"PONG"
    other = Store([f"{cluster.url}?shards={2 * SHARDS}"])
    with pytest.raises(StoreRefused, match=f"{SHARDS} virtual shards"):
        await other.shards[0].execute("PING")
    with pytest.raises(StoreRefused, match="LAYOUT"):
        await asyncio.to_thread(other.shards[1].execute_sync, "PING")
    await other.close()


async def test_nothing_is_in_another_slot_than_the_documents_name(cluster: RedisCluster, store: Store) -> None:
    """So people know which slots they move, and when."""
    for number, shard in enumerate(store.shards):
        await shard.execute("SET", name_in(store, number).key("here"), 1)
    named = {key_slot(f"{{{tag}}}") for tag in ("layout", limit_keys.TAG.strip("{}"))}
    with cluster.client() as client:
        found = {key_slot(key.decode()) for key in client.scan_iter(match="*")}
    assert found - named == {slot_of(number, SHARDS) for number in range(SHARDS)}
    text = (Path(__file__).parents[2] / "docs" / "SCALE_OUT.md").read_text()
    assert all(f"({slot})" in text or f"({slot})," in text for slot in named)
