"""Ages told by Redis's clock, whatever the hosts think the time is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.engine.clocks import WINDOW, RedisClocks


@given(
    ahead=st.floats(-1e6, 1e6),
    trips=st.lists(st.tuples(st.floats(0.0001, 0.5), st.floats(0, 1)), min_size=1, max_size=30),
    age=st.floats(0, 10),
)
def test_an_age_is_wrong_by_no_more_than_half_the_narrowest_round_trip(
    ahead: float, trips: list[tuple[float, float]], age: float
) -> None:
    """Wherever in each round trip Redis looked at its clock."""
    clocks, now = RedisClocks(1), 1000.0
    for took, share in trips:
        clocks.note(0, now, now + took * share + ahead, now + took)
        now += 1
    published = clocks.ours(0, now - age + ahead)
    assert published is not None
    narrowest = min(took for took, _ in trips[-WINDOW:])
    assert now - published == pytest.approx(age, abs=narrowest / 2 + 1e-6)


def test_without_an_exchange_there_is_no_age() -> None:
    """Rather than one that is wrong by the difference of two hosts' clocks."""
    clocks = RedisClocks(2)
    clocks.note(1, 10.0, 500.0, 10.002)
    assert clocks.ours(0, 500.0) is None
    assert clocks.ours(1, 500.0) == pytest.approx(10.001)
    clocks.forget(1)
    assert clocks.ours(1, 500.0) is None


def test_a_clock_that_was_set_is_believed_within_the_window() -> None:
    """A failover to a host whose clock is elsewhere."""
    clocks = RedisClocks(1)
    clocks.note(0, 0.0, 100.0, 0.0001)
    for turn in range(WINDOW):
        clocks.note(0, 1.0 + turn, 201.0 + turn, 1.01 + turn)
    assert clocks.ours(0, 210.0) == pytest.approx(10.0, abs=0.01)
