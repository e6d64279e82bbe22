"""One account of waiting for all calls of a request."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async

from flotilla.store import Shard, StoreUnavailable
from flotilla.store.deadline import SHORTEST, bounded, within
from flotilla.store.errors import StoreNotAsked, StoreSilent
from flotilla.store.patience import FREE, PERIOD, Account, apatiently, begin, end, patiently
from tests.store.pausing import hung
from tests.store.redis_process import RedisProcess
from tests.store.silent import accepting, swallowing

LONG = 30.0  # seconds: more than a busy machine makes of what is much shorter


class Clock:
    """A clock that goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _outside() -> Iterator[None]:
    end()
    yield
    end()


def test_what_a_healthy_redis_takes_costs_nothing() -> None:
    """However many calls there are: a task that publishes a thousand times is not cut short."""
    account = Account()
    for _ in range(1000):
        account.spend(FREE)
    assert account.left(2.0) == 2.0


def test_what_is_spent_comes_back_after_a_while() -> None:
    """For workers, whose work has no beginning that we hear of."""
    clock = Clock()
    account = Account(clock)
    clock.now += 1.5
    account.spend(1.5)
    account.spend(0.25)
    assert account.left(2.0) == pytest.approx(2.0 - 1.75 + 2 * FREE)
    clock.now += PERIOD - 2.0
    assert account.left(2.0) < 1.0
    clock.now += 1.0
    assert account.left(2.0) == 2.0


def test_a_deadline_is_the_threads_own_and_the_nearest_counts() -> None:
    """It is never 0, which would mean another thing to a socket."""
    assert bounded(2.0) == 2.0
    with within(LONG), within(1.0), within(2 * LONG):
        assert 0 < bounded(2.0) <= 1.0
        found: list[float] = []
        other = threading.Thread(target=lambda: found.append(bounded(2.0)))
        other.start()
        other.join()
        assert found == [2.0]
        with within(-1.0):
            assert bounded(2.0) == SHORTEST
        assert bounded(2.0) > SHORTEST
    assert bounded(2.0) == 2.0


@pytest.mark.parametrize("address", [accepting, swallowing])
def test_a_thread_gives_up_when_its_time_is_up(address: object) -> None:
    """Whether it waits for a connection or for an answer; afterwards nothing is asked, until another request begins."""
    begin()
    with address() as url:  # type: ignore[operator]
        shard = Shard(0, url, LONG)
        began = time.monotonic()
        with pytest.raises(StoreSilent), patiently(0.2):
            shard.execute_sync("PING")
        assert time.monotonic() - began < LONG / 2
        with pytest.raises(StoreNotAsked), patiently(0.2):
            pytest.fail("nothing may be asked")
        begin()
        with patiently(0.2):
            pass
        shard.close_sync()


def spend() -> None:
    """All that there is."""
    with patiently(0.1):
        time.sleep(0.1 + 2 * FREE)


def test_what_one_request_has_spent_is_not_another_ones() -> None:
    """Under WSGI a request is a thread's, until it is over."""

    def requests() -> None:
        for _ in range(2):
            begin()
            spend()
            with pytest.raises(StoreNotAsked):
                spend()
            end()
        spend()
        spend()

    for _ in range(2):
        thread = threading.Thread(target=requests)
        thread.start()
        thread.join()


async def test_the_threads_of_one_request_share_what_it_has() -> None:
    """Under ASGI, with its coroutines."""

    async def request() -> None:
        async with ThreadSensitiveContext():
            await sync_to_async(spend)()
            with pytest.raises(StoreNotAsked):
                await sync_to_async(spend)()
            with pytest.raises(StoreNotAsked):
                async with apatiently(0.1):
                    pytest.fail("nothing may be asked")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(request())


def test_outside_of_requests_nothing_is_carried_over() -> None:
    """But by whoever passes an account on."""
    spend()
    spend()
    account = Account()
    with patiently(0.1, account):
        time.sleep(0.1 + 2 * FREE)
    with pytest.raises(StoreNotAsked), patiently(0.1, account):
        pytest.fail("nothing may be asked")


async def test_coroutines_give_up_as_well(mortal_redis: RedisProcess) -> None:
    """And the connection serves the next call."""
    shard = Shard(0, mortal_redis.url, LONG)
    assert await shard.execute("PING") == b"PONG"
    with hung(mortal_redis), pytest.raises(StoreSilent):
        async with apatiently(0.2):
            await shard.execute("PING")
    async with asyncio.timeout(LONG):
        assert await shard.execute("ECHO", "again") == b"again"
    await shard.close()


def test_an_answer_that_came_too_late_is_nobody_elses(mortal_redis: RedisProcess) -> None:
    """The connection is closed with the call it was for."""
    shard = Shard(0, mortal_redis.url, LONG)
    shard.execute_sync("SET", "key", "late")
    with hung(mortal_redis), pytest.raises(StoreUnavailable), within(0.1):
        shard.execute_sync("GET", "key")
    assert shard.execute_sync("ECHO", "mine") == b"mine"
    shard.close_sync()
