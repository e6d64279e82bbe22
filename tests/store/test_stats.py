"""Counting: bounds belong to their bucket, quantiles lie within it, and Redis's troubles are counted as they happen."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.store import Store, StoreRefused, StoreUnavailable
from flotilla.store.stats import TIMES, Histogram, quantile
from tests.store.redis_process import RedisProcess


def test_a_tenth_of_a_second_is_a_bound_and_belongs_below() -> None:
    """What took exactly 0.1 s is within an objective of 0.1 s; what took longer is not."""
    histogram = Histogram()
    histogram.observe(0.1)
    histogram.observe(0.1000001)
    place = TIMES.index(0.1)
    assert histogram.counts[place : place + 2] == [1, 1]
    assert histogram.total == pytest.approx(0.2000001)


@given(st.lists(st.floats(0, 20), min_size=1), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_lies_in_the_bucket_of_the_value_it_stands_for(values: list[float], q: float) -> None:
    """As exact as the bounds allow."""
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    rank = max(0, -(-q * len(values) // 1) - 1)
    true = sorted(values)[int(rank)]
    found = quantile(q, histogram.bounds, histogram.counts)
    bounds = [0.0, *TIMES]
    bucket = next((i for i, bound in enumerate(TIMES) if true <= bound), None)
    assert found is not None
    if bucket is None:
        assert found == TIMES[-1]
    else:
        assert bounds[bucket] <= found <= bounds[bucket + 1]


def test_nothing_has_no_quantile() -> None:
    """Rather than a zero that looks like a fast one."""
    assert quantile(0.5, TIMES, [0] * (len(TIMES) + 1)) is None


async def test_commands_round_trips_and_refusals_are_counted(store: Store) -> None:
    """Each once."""
    stats = store.first.stats
    await asyncio.gather(*(store.first.execute("PING") for _ in range(3)))
    with pytest.raises(StoreRefused):
        await store.first.execute("NOSUCHCOMMAND")
    store.first.execute_sync("PING")
    assert (stats.commands, stats.refused, stats.unavailable, stats.connects) == (5, 1, 0, 1)
    assert sum(stats.round_trip.counts) == 4
    assert 0 < stats.round_trip.total < 60


async def test_what_redis_does_not_answer_is_counted_and_so_is_its_return(mortal_redis: RedisProcess) -> None:
    """As unavailable, and as one more connection."""
    store = Store([mortal_redis.url])
    stats = store.first.stats
    await store.first.execute("PING")
    mortal_redis.kill()
    with pytest.raises(StoreUnavailable):
        await store.first.execute("PING")
    with pytest.raises(StoreUnavailable):
        store.first.execute_sync("PING")
    assert stats.unavailable >= 2
    mortal_redis.start()
    for _ in range(1000):
        try:
            await store.first.execute("PING")
            break
        except StoreUnavailable:
            await asyncio.sleep(0.01)
    assert stats.connects == 2
    await store.close()
