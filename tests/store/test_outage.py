"""A Redis that is silent: threads wait for it once, and hear soon that it is back."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flotilla.store import Shard, StoreUnavailable
from flotilla.store.deadline import within
from flotilla.store.errors import StoreNotAsked, StoreRefused, StoreSilent
from flotilla.store.outage import LONG, STALE, Outage
from tests.store.pausing import hung
from tests.store.redis_fleet import Fleet
from tests.store.redis_process import RedisProcess, until
from tests.store.silent import refusing


class Asked:
    """A Redis that answers as it is told."""

    def __init__(self) -> None:
        self.answer: Exception | None = StoreSilent()
        self.times = 0

    def ask(self) -> None:
        self.times += 1
        if self.answer is not None:
            raise self.answer


@pytest.fixture
def redis() -> Asked:
    return Asked()


@pytest.fixture
def outage(redis: Asked) -> Iterator[Outage]:
    made = Outage("Redis 0", redis.ask)
    yield made
    made.end()


def test_a_short_silence_is_no_outage(outage: Outage) -> None:
    """Unless it is all that a call may take."""
    outage.silent(LONG / 2, 2.0)
    assert not outage.known
    outage.silent(LONG / 2, LONG / 2)
    assert outage.known


@pytest.mark.parametrize("answer", [None, StoreRefused("NOAUTH", "NOAUTH Authentication required.")])
async def test_it_is_over_when_redis_says_anything(
    outage: Outage, redis: Asked, caplog: pytest.LogCaptureFixture, answer: Exception | None
) -> None:
    """Until then nobody needs to ask, and the log says so once."""
    for _ in range(3):
        outage.silent(2.0, 2.0)
    with pytest.raises(StoreNotAsked):
        outage.require_none()
    await until(lambda: redis.times > 1)
    assert outage.known
    redis.answer = answer
    await until(lambda: not outage.known)
    outage.require_none()
    await until(lambda: len(caplog.records) == 2)
    assert [record.getMessage() for record in caplog.records] == [
        "Redis 0 is silent: calls fail at once until it answers again",
        "Redis 0 answers again",
    ]


def test_callers_find_out_by_themselves_where_no_thread_of_ours_runs(redis: Asked) -> None:
    """As in a process that was forked during an outage."""
    now = [100.0]
    outage = Outage("Redis 0", redis.ask, lambda: now[0])
    outage.end()
    outage.silent(2.0, 2.0)
    assert outage.known
    now[0] += STALE
    assert not outage.known


async def test_the_thread_ends_with_what_it_asks() -> None:
    """Nobody has to close anything."""
    asked = Asked()
    outage = Outage("Redis 0", asked.ask)
    outage.silent(2.0, 2.0)
    thread = outage._asking
    assert thread is not None and thread.daemon
    del asked
    await until(lambda: not thread.is_alive())


async def test_threads_wait_once_and_go_on_soon(mortal_redis: RedisProcess) -> None:
    """Calls of every kind; coroutines have their own way of finding out."""
    shard = Shard(0, mortal_redis.url, 1.0, wait_once=True)
    assert shard.execute_sync("PING") == b"PONG"
    with hung(mortal_redis):
        with pytest.raises(StoreSilent):
            await asyncio.to_thread(shard.execute_sync, "PING")
        for ask in (lambda: shard.execute_sync("PING"), lambda: shard.batch_sync([("PING",)])):
            with pytest.raises(StoreNotAsked):
                ask()
        before = shard.stats.commands
        with pytest.raises(StoreUnavailable):
            shard.execute_sync("PING")
        assert shard.stats.commands == before
    await until(lambda: not shard.silent, 30)
    assert shard.execute_sync("PING") == b"PONG"
    await shard.close()


def test_who_has_a_breaker_of_its_own_is_not_spared(mortal_redis: RedisProcess) -> None:
    """The rate limits: to them a slow Redis is not one that is away."""
    shard = Shard(0, mortal_redis.url, 0.2)
    with hung(mortal_redis):
        for _ in range(3):
            with pytest.raises(StoreSilent):
                shard.execute_sync("PING")
    assert not shard.silent
    assert shard.execute_sync("PING") == b"PONG"
    shard.close_sync()


async def test_a_refused_connection_is_tried_each_time() -> None:
    """It costs no time, and the first call after a restart shall be served."""
    with refusing() as url:
        shard = Shard(0, url, 5.0, wait_once=True)
        for _ in range(5):
            with pytest.raises(StoreUnavailable) as caught:
                shard.execute_sync("PING")
            assert not isinstance(caught.value, StoreNotAsked)
    assert not shard.silent
    assert shard._threads.outage._asking is None
    await shard.close()


def test_what_was_closed_asks_no_more(mortal_redis: RedisProcess) -> None:
    """And can be used again."""
    shard = Shard(0, mortal_redis.url, 0.5, wait_once=True)
    with hung(mortal_redis):
        with pytest.raises(StoreSilent):
            shard.execute_sync("PING")
        thread = shard._threads.outage._asking
        assert thread is not None
        shard.close_sync()
    thread.join(30)
    assert not thread.is_alive()
    assert shard.execute_sync("PING") == b"PONG"
    shard.close_sync()


@pytest.mark.timeout(150)
def test_a_late_answer_of_a_master_behind_sentinels_is_nobody_elses(tmp_path: Path) -> None:
    """redis-py would keep the connection open that was given up, and read it with the next call."""
    fleet = Fleet(tmp_path, replicas=0, sentinels=1)
    shard = Shard(0, fleet.url)
    try:
        shard.execute_sync("SET", "key", "late")
        fleet.servers[0].send(signal.SIGSTOP)
        with pytest.raises(StoreSilent), within(0.1):
            shard.execute_sync("GET", "key")
        assert not shard._threads._connected()._idle
    finally:
        fleet.servers[0].send(signal.SIGCONT)
        shard.close_sync()
        fleet.close()
