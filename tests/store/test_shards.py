"""Shards from coroutines and threads, and which name lives where."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from channels_redis.pubsub import RedisPubSubLoopLayer
from hypothesis import given
from hypothesis import strategies as st

from flotilla.store import Script, Shard, Store, StoreRefused, StoreUnavailable, get_store, placement_of
from flotilla.store.shards import reset_store
from tests.store.faults import FAULTS
from tests.store.redis_process import RedisProcess

ADD = Script("test.add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")


@pytest.fixture
def redis_process(by_itself: None, redis_process: RedisProcess) -> RedisProcess:
    return redis_process


def test_threads_get_the_same_answers(redis_process: RedisProcess) -> None:
    """Synchronous calls run scripts and commands, raw replies included, from many threads at once."""
    shard = Shard(0, redis_process.url)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shard.run_sync(ADD, ["sum"], [1]), range(200)))
    assert shard.execute_sync("GET", "sum") == b"200"
    assert shard.execute_sync("HGETALL", "nothing") == []
    asyncio.run(shard.close())


def test_threads_load_a_forgotten_script(redis_process: RedisProcess) -> None:
    """A script Redis does not know is sent in full."""
    shard = Shard(0, redis_process.url)
    redis_process.ask("SCRIPT", "FLUSH")
    assert shard.run_sync(ADD, ["sum"], [2]) == 2
    assert shard.run_sync(ADD, ["sum"], [2]) == 4
    asyncio.run(shard.close())


def test_threads_hear_that_redis_is_away(tmp_path: Path) -> None:
    """The error is the same as for coroutines."""
    shard = Shard(0, f"unix://{tmp_path / 'nobody.sock'}")
    with pytest.raises(StoreUnavailable):
        shard.execute_sync("PING")
    with pytest.raises(StoreUnavailable):
        shard.run_sync(ADD, ["sum"], [1])


def test_threads_survive_a_restart_of_redis(mortal_redis: RedisProcess) -> None:
    """A pooled connection that died is replaced without an error."""
    shard = Shard(0, mortal_redis.url)
    assert shard.execute_sync("INCR", "count") == 1
    mortal_redis.kill()
    mortal_redis.start()
    assert shard.execute_sync("INCR", "count") == 1
    asyncio.run(shard.close())


def test_an_error_inside_a_script_is_the_callers(redis_process: RedisProcess) -> None:
    """It carries the code of the reply, and is a StoreUnavailable, so that nobody has to be ready for two things."""
    shard = Shard(0, redis_process.url)
    broken = Script("test.broken", "return redis.call('NO-SUCH-COMMAND')")

    async def call() -> None:
        with pytest.raises(StoreRefused):
            await shard.run(broken, [], [])
        assert await shard.execute("PING") == b"PONG"
        await shard.close()

    asyncio.run(call())
    with pytest.raises(StoreRefused):
        shard.run_sync(broken, [], [])
    asyncio.run(shard.close())


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_several_commands_go_in_one_batch(redis_process: RedisProcess, mortal_redis: RedisProcess) -> None:
    """Replies come in the order of the commands, whichever Redis each name lives on, and raw; faults are raised."""
    store = Store([redis_process.url, mortal_redis.url])
    places = [placement_of(f"name-{number}") for number in range(50)]
    assert {store.shard_for(one).index for one in places} == {0, 1}
    store.batch_sync([(one, ("SET", one.key("batch"), number)) for number, one in enumerate(places)])
    assert store.batch_sync([(one, ("GET", one.key("batch"))) for one in places]) == [b"%d" % n for n in range(50)]
    assert store.batch_sync([(places[0], ("HMGET", "nothing", "a"))]) == [[None]]
    assert store.batch_sync([]) == []
    with pytest.raises(StoreRefused):
        store.batch_sync([(places[0], ("LLEN", places[0].key("batch")))])
    mortal_redis.kill()
    with pytest.raises(StoreUnavailable):
        store.batch_sync([(one, ("GET", one.key("batch"))) for one in places])
    asyncio.run(store.close())


def test_event_loops_that_ended_leave_nothing_behind(redis_process: RedisProcess) -> None:
    """Code that runs a loop per call (async_to_sync does) does not gather connections."""
    shard = Shard(0, redis_process.url)
    for _ in range(20):
        assert asyncio.run(_execute(shard, "PING")) == b"PONG"
    gc.collect()
    assert len(shard._links) <= 1
    assert redis_process.ask("CLIENT", "LIST").count(b"\n") <= 3


async def _execute(shard: Shard, *command: Any) -> Any:
    return await shard.execute(*command)


@given(st.text(), st.integers(1, 7))
def test_a_name_lives_where_its_group_is_sent(name: str, shards: int) -> None:
    """The shard of a name is the one the channel layer uses for its group, for any number of shards."""
    store = Store([f"redis://host{number}" for number in range(shards)])
    layer = RedisPubSubLoopLayer([url.url for url in store.shards], prefix="flotilla")
    topic = layer._get_group_channel_name(placement_of(name).group)
    assert topic == placement_of(name).topic
    assert layer._shards.index(layer._get_shard(topic)) == store.shard_for(placement_of(name)).index


def test_names_spread_over_shards() -> None:
    """No shard of three gets less than a quarter of many names."""
    store = Store(["redis://a", "redis://b", "redis://c"])
    found = [store.shard_for(placement_of(f"room-{number}")).index for number in range(3000)]
    assert min(map(found.count, range(3))) > 750


def test_the_process_has_one_store(settings: Any) -> None:
    """`get_store` makes it from the settings, once."""
    settings.REDIS_URLS = ["redis://one", "redis://two"]
    reset_store()
    try:
        assert get_store() is get_store()
        assert [shard.url for shard in get_store().shards] == ["redis://one", "redis://two"]
        assert get_store().first.index == 0
    finally:
        reset_store()


def test_what_is_shown_of_a_shard_holds_no_password() -> None:
    """Its representation may be logged."""
    assert "secret" not in repr(Shard(0, "redis://user:secret@host:6379/0"))


async def test_threads_hear_the_code_of_an_error_reply(redis_process: RedisProcess) -> None:
    """Of a command, a script and a batch; a server that is not the one we want loses its connections."""
    shard = Shard(0, redis_process.url)
    write = ("SET", "key", "1")
    asks: list[Any] = [
        lambda: shard.execute_sync(*write),
        lambda: shard.run_sync(ADD, ["sum"], [1]),
        lambda: shard.batch_sync([("GET", "key"), write]),
    ]
    for name in ("READONLY", "BUSY", "OOM", "NOREPLICAS", "MISCONF"):
        first = shard.execute_sync("CLIENT", "ID")
        async with FAULTS[name](redis_process):
            for number, ask in enumerate(asks):
                with pytest.raises(StoreRefused) as caught:
                    await asyncio.to_thread(ask)
                assert caught.value.code == name
                assert shard.stats.refused
                assert not number or shard.stats.unavailable == 0
        assert (shard.execute_sync("CLIENT", "ID") == first) is (name != "READONLY")
        assert [await asyncio.to_thread(ask) for ask in asks]
    await shard.close()


async def test_each_kind_of_error_reply_is_logged_once(
    redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """However many there are."""
    shard = Shard(3, redis_process.url)
    redis_process.ask("SET", "text", "x")
    for _ in range(20):
        with pytest.raises(StoreRefused):
            await shard.execute("LPUSH", "text", "x")
        with pytest.raises(StoreRefused):
            shard.execute_sync("NO-SUCH-COMMAND")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert all("Redis 3" in line for line in told)
    assert shard.stats.refused == 40
    await shard.close()
