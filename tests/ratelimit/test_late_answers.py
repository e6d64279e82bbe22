"""A Redis that answers late is not away: limits hold exactly. Deciding alone gives no burst, nor does coming back."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from flotilla.ops.load.overshoot import overshoot
from flotilla.ratelimit.decisions import Claim
from flotilla.ratelimit.limiter import Limiter
from tests.ratelimit.conftest import PATIENCE, claim, make_limiter
from tests.ratelimit.slow_redis import SlowRedis, between
from tests.store import cluster_process
from tests.store.redis_process import RedisProcess, until

FLOOD = 1.0  # seconds
ASKERS = 16
SLOW_BURST = "40/h burst=40"  # nothing comes back while a test runs
RATES = ("20/s burst=40", "60/2s")


pytestmark = pytest.mark.skipif(
    cluster_process.CHOSEN, reason="the slow Redis is before one socket, and a cluster has several"
)


@pytest_asyncio.fixture
async def slow_redis(redis_process: RedisProcess, tmp_path: Path) -> AsyncIterator[SlowRedis]:
    relay = await SlowRedis(redis_process.url, str(tmp_path / "slow.sock")).start()
    yield relay
    await relay.close()


@pytest_asyncio.fixture
async def limiters() -> AsyncIterator[Callable[..., list[Limiter]]]:
    """Makes the limiters of so many instances."""
    made: list[Limiter] = []

    def make(url: str, count: int, **options: Any) -> list[Limiter]:
        made.extend(make_limiter(url, instances=lambda: count, **options) for _ in range(count))
        return made

    yield make
    for limiter in made:
        await limiter.close()


async def take(limiter: Limiter, asked: Claim, times: int) -> int:
    """Ask so many times; how many were admitted."""
    return sum([(await limiter.decide([asked])).allowed for _ in range(times)])


async def flood(limiters: list[Limiter], asked: Claim, sync: bool = False) -> list[tuple[int, int]]:
    """Everybody asks as fast as they are answered; when each of those admitted was asked and answered, in µs."""
    admitted: list[tuple[int, int]] = []
    ends = time.monotonic() + FLOOD

    async def ask(limiter: Limiter) -> None:
        while time.monotonic() < ends:
            began = time.monotonic()
            decision = await (asyncio.to_thread(limiter.decide_sync, [asked]) if sync else limiter.decide([asked]))
            if decision.allowed:
                admitted.append((int(began * 1e6), int(time.monotonic() * 1e6)))
            else:
                await asyncio.sleep(min(decision.retry_after, 0.02))

    await asyncio.gather(*(ask(limiters[number % len(limiters)]) for number in range(ASKERS)))
    return sorted(admitted)


def excess(asked: Claim, admitted: list[tuple[int, int]]) -> int:
    return overshoot(asked.rate, [asked for asked, _ in admitted], [answered for _, answered in admitted])


def outcomes(limiters: list[Limiter]) -> Counter[str]:
    return sum((Counter({how: n for (_, how), n in one.counts.outcomes.items()}) for one in limiters), Counter())


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    ("failure", "sync"), [("open", False), ("open", True), ("closed", False), ("local", False), ("local", True)]
)
async def test_a_flood_through_two_instances_is_granted_what_is_promised_however_late_redis_answers(
    slow_redis: SlowRedis, limiters: Callable[..., list[Limiter]], failure: str, rate: str, sync: bool
) -> None:
    two = limiters(slow_redis.url, 2)
    asked = claim(rate, failure=failure)
    for limiter in two:
        assert (await limiter.decide([asked])).allowed  # it is connected
    slow_redis.delay = between(0.1, 0.3)
    admitted = await flood(two, asked, sync)
    assert excess(asked, admitted) == 0, f"{len(admitted)} in {FLOOD} s"
    assert sync or len(admitted) >= asked.rate.quota - 2, "less than the burst, though Redis answered"
    assert not outcomes(two).keys() & {"failed_open", "failed_closed", "local"}, "a late answer was taken for none"


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("failure", ["open", "local"])
async def test_who_waits_no_longer_while_the_link_lives_is_not_granted_more(
    slow_redis: SlowRedis, limiters: Callable[..., list[Limiter]], failure: str, rate: str
) -> None:
    """The bound of HTTP passes again and again; Redis takes what it was asked all the same, and says so later."""
    two = limiters(slow_redis.url, 2)
    asked = claim(rate, failure=failure)
    for limiter in two:
        assert (await limiter.decide([claim("10/s", "another")])).allowed  # it is connected
        limiter.patience = limiter.patience._replace(http=0.05)
    slow_redis.delay = between(0.1, 0.3)
    admitted = await flood(two, asked)
    slow_redis.delay = lambda: 0.0
    admitted += await flood(two, asked)
    assert excess(asked, sorted(admitted)) == 0, f"{len(admitted)} in {2 * FLOOD} s"
    assert outcomes(two)["local"], "nobody's patience ended, so nothing was proven"
    assert not outcomes(two)["failed_open"]


@pytest.mark.parametrize("rate", [SLOW_BURST, "40/h"])
async def test_going_over_to_deciding_alone_gives_no_second_burst(
    slow_redis: SlowRedis, limiters: Callable[..., list[Limiter]], rate: str
) -> None:
    here, there = limiters(slow_redis.url, 2)
    asked = claim(rate, failure="local")
    assert await take(here, asked, 30) == 30
    assert await take(there, asked, 15) == 10
    slow_redis.cut()
    assert await take(here, asked, 40) + await take(there, asked, 40) <= 5  # when `here` heard last, 10 were left


@pytest.mark.parametrize("rate", [SLOW_BURST, "40/h"])
@pytest.mark.parametrize("instances", [1, 2])
async def test_coming_back_from_deciding_alone_gives_no_second_burst(
    slow_redis: SlowRedis, limiters: Callable[..., list[Limiter]], rate: str, instances: int
) -> None:
    all_of_them = limiters(slow_redis.url, instances)
    asked = claim(rate, failure="local")
    other = claim("1000/h", "other", failure="closed")
    slow_redis.cut()
    assert sum([await take(one, asked, 45) for one in all_of_them]) == 40, "the shares make up the whole"
    slow_redis.heal()
    for one in all_of_them:
        await until(partial(take, one, other, 1), what="Redis is heard again")
    assert sum([await take(one, asked, 45) for one in all_of_them]) <= 20 * (instances - 1)
    assert sum([await take(one, asked, 45) for one in all_of_them]) == 0


@pytest.mark.parametrize("rate", [SLOW_BURST, "40/h"])
async def test_what_was_left_when_redis_went_is_what_an_instance_gives(
    slow_redis: SlowRedis, limiters: Callable[..., list[Limiter]], rate: str
) -> None:
    (alone,) = limiters(slow_redis.url, 1)
    asked = claim(rate, failure="local")
    assert await take(alone, asked, 25) == 25
    slow_redis.cut()
    assert await take(alone, asked, 40) == 15


async def test_a_redis_that_was_silent_until_it_was_given_up_is_away_at_once(
    slow_redis: SlowRedis, limiters: Callable[..., list[Limiter]]
) -> None:
    (limiter,) = limiters(slow_redis.url, 1)
    asked = claim("1000/h", failure="open")
    assert (await limiter.decide([asked])).allowed
    slow_redis.delay = lambda: 3600.0
    assert not limiter.breaker.open
    await limiter.decide([asked], PATIENCE)
    assert limiter.breaker.open
    assert outcomes([limiter])["failed_open"] == 1
