"""The script on a real Redis: it reckons as the pure modules do, takes from all or none, and stays small."""

import asyncio
import re

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flotilla.ratelimit import keys
from flotilla.ratelimit import limiter as limiter_module
from flotilla.ratelimit.algorithms import gcra, window
from flotilla.ratelimit.algorithms.rates import TICKS, Rate
from flotilla.ratelimit.limiter import Limiter
from tests.ratelimit.conftest import claim
from tests.store import cluster_process
from tests.store.redis_process import RedisProcess

SCRIPT = limiter_module._TAKE.text
WITH_CLOCK = re.sub(r", 'PX', \w+\)", ")", SCRIPT).replace("redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}")
"""The same script, its clock in the last two arguments; its keys stay, for Redis expires them by its own clock."""
EPOCH = 1767225600
BEGIN = EPOCH + 100_000_000

requests = st.lists(
    st.tuples(st.one_of(st.integers(-2, 3), st.integers(-50_000, 700_000)), st.integers(1, 3)), min_size=1, max_size=60
)
rates = st.one_of(
    st.builds(Rate, st.integers(3, 300), st.integers(1, 3), st.integers(3, 40)),
    st.builds(Rate, st.integers(3, 40), st.integers(1, 2)),
    st.builds(Rate, st.integers(257, 400), st.just(1)),
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rates, requests)
@example(Rate(3, 1), [(0, 3), (1_000_000, 1), (1, 1)])  # the closed window, to the microsecond
@example(Rate(300, 1), [(0, 300), (1_003_907, 1), (1, 1)])
def test_the_script_reckons_as_the_pure_modules_do(
    redis_process: RedisProcess, rate: Rate, asked: list[tuple[int, int]]
) -> None:
    """Also when the clock goes back."""
    redis_process.ask("FLUSHALL")
    now, state, log = 100_000_000_000_000, 0, ()
    args = ["s", rate.period_us, rate.count, rate.grain] if rate.strict else ["g", rate.interval, rate.quota, 0]
    for pause, cost in asked:
        now += pause
        clock = [EPOCH + now // 1_000_000, now % 1_000_000]
        reply = redis_process.ask("EVAL", WITH_CLOCK, 1, "key", 1, args[0], cost, 0, *args[1:], 0, *clock)
        if rate.strict:
            answer, log = window.take(log, now, cost, rate)
        else:
            answer, state = gcra.take(state, now * TICKS, cost, rate)
        assert reply == [EPOCH * 1_000_000 + now, int(answer.allowed), *answer[1:]]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rates, st.lists(st.tuples(st.integers(0, 700_000), st.integers(1, 3), st.integers(0, 50)), max_size=30))
def test_what_was_admitted_without_redis_is_entered_whatever_is_decided(
    redis_process: RedisProcess, rate: Rate, asked: list[tuple[int, int, int]]
) -> None:
    """A debt counts as if it had been taken just before, up to the whole quota."""
    redis_process.ask("FLUSHALL")
    now, state, log = 100_000_000_000_000, 0, ()
    args = ["s", rate.period_us, rate.count, rate.grain] if rate.strict else ["g", rate.interval, rate.quota, 0]
    for pause, cost, debt in asked:
        now += pause
        clock = [EPOCH + now // 1_000_000, now % 1_000_000]
        owed = debt if rate.strict else debt * rate.interval
        reply = redis_process.ask("EVAL", WITH_CLOCK, 1, "key", 1, args[0], cost, 0, *args[1:], owed, *clock)
        for _ in range(debt):
            if rate.strict:
                _, log = window.take(log, now, 1, rate)
            else:
                state = min(max(state, now * TICKS) + rate.interval, now * TICKS + rate.interval * rate.quota)
        if rate.strict:
            answer, log = window.take(log, now, cost, rate)
        else:
            answer, state = gcra.take(state, now * TICKS, cost, rate)
        assert reply == [EPOCH * 1_000_000 + now, int(answer.allowed), *answer[1:]]


async def test_several_policies_are_taken_from_together_or_not_at_all(limiter: Limiter) -> None:
    wide, narrow = claim("10/m", "wide"), claim("2/m burst=2", "narrow")
    assert (await limiter.decide([wide, narrow])).allowed
    assert (await limiter.decide([wide, narrow])).allowed
    denied = await limiter.decide([wide, narrow])
    assert not denied.allowed
    assert [verdict.claim for verdict in denied.denials] == [narrow]
    alone = await limiter.decide([wide])
    assert alone.verdicts[0].remaining == 7, "the denial of one cost something in the other"


async def test_a_shadow_counts_and_never_stands_in_the_way(limiter: Limiter) -> None:
    shadow, real = claim("1/m", "shadow", shadow=True), claim("3/m", "real")
    decisions = [await limiter.decide([shadow, real]) for _ in range(4)]
    assert [decision.allowed for decision in decisions] == [True, True, True, False]
    assert limiter.counts.outcomes["shadow", "shadow"] == 2 + 1  # the last one was denied by the other
    assert limiter.counts.outcomes["real", "denied"] == 1


async def test_a_cost_weighs(limiter: Limiter) -> None:
    heavy = claim("10/m burst=10", cost=4)
    remaining = [(await limiter.decide([heavy])).verdicts[0].remaining for _ in range(2)]
    assert remaining == [6, 2]
    denied = await limiter.decide([heavy])
    assert not denied.allowed
    assert 0 < denied.retry_after <= 12.0


@pytest.mark.parametrize("rate", ["20/m burst=40", "100/h burst=20", "1/d burst=3"])
async def test_a_gcra_key_takes_at_most_80_bytes(limiter: Limiter, redis_process: RedisProcess, rate: str) -> None:
    asked = claim(rate, "a-policy-with-a-very-long-name-indeed", "user:a-user-with-a-very-long-name@example.com")
    await limiter.decide([asked])
    await limiter.decide([asked])
    of_slots = 16 if cluster_process.CHOSEN else 0  # by which a node of a cluster finds the keys of a slot
    assert redis_process.ask("MEMORY", "USAGE", asked.key) <= 80 + of_slots
    assert redis_process.ask("OBJECT", "ENCODING", asked.key) == b"int"


@pytest.mark.parametrize(
    ("rate", "longest"), [("100/m", 60_001), ("100/m burst=20", 602), ("1000/s", 1_005), ("20/s burst=40", 52)]
)
async def test_every_key_ends_when_it_means_nothing_any_more(
    limiter: Limiter, redis_process: RedisProcess, rate: str, longest: int
) -> None:
    asked = claim(rate)
    await limiter.decide([asked])
    assert 0 < redis_process.ask("PTTL", asked.key) <= longest


@pytest.mark.parametrize("most", [100, 10_000])
async def test_a_strict_key_has_a_bound(limiter: Limiter, redis_process: RedisProcess, most: int) -> None:
    asked = claim(f"{most}/2s")
    for _ in range(40):
        await asyncio.gather(*(limiter.decide([asked]) for _ in range(most // 40)))
    assert redis_process.ask("STRLEN", asked.key) <= 4 + 12 * 258


async def test_all_keys_share_one_tag_and_name_nobody(limiter: Limiter, redis_process: RedisProcess) -> None:
    await limiter.decide([claim("10/m", identity="user:ann"), claim("10/m burst=2", "other", "ip:192.0.2.7")])
    found = [key.decode() for key in redis_process.ask("KEYS", "*")]
    assert len(found) == 2
    assert len({key.partition("}")[0] for key in found}) == 1
    assert not any("ann" in key or "192" in key for key in found)
    assert {keys.version().partition("}")[0], keys.hottest().partition("}")[0]} == {found[0].partition("}")[0]}


async def test_the_journal_has_a_stamp_for_each_request_admitted(redis_process: RedisProcess, limiter: Limiter) -> None:
    limiter._journal = keys.journal("test")
    asked = claim("3/m")
    stamps = [decision.at for _ in range(5) if (decision := await limiter.decide([asked])).allowed]
    assert [int(stamp) for stamp in redis_process.ask("LRANGE", keys.journal("test"), 0, -1)] == stamps
    assert len(stamps) == 3
