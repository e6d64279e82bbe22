"""A drain's spread: even steps at what the others admit, faster only where the deadline wants it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.node.drain import STEP, Spread, admitted_elsewhere


def told(clients: int, rate: int, deadline: float, late: dict[int, float] | None = None) -> list[tuple[float, int]]:
    """What goes when, step by step; `late`: seconds by which a step comes later than it should."""
    now, left, steps = 100.0, clients, []
    spread = Spread(now, now + deadline)
    for number in range(100_000):
        if not left:
            return [(at - 100.0, count) for at, count in steps]
        now += (late or {}).get(number, 0.0)
        count = spread.due(now, left, rate)
        assert 0 <= count <= left
        left -= count
        steps.append((now, count))
        now += STEP
    raise AssertionError("it never ends")


def fullest(steps: list[tuple[float, int]]) -> int:
    """The most that went within any second."""
    return max(sum(count for at, count in steps if end - 1.0 < at <= end) for end, _ in steps)


def test_clients_go_evenly_at_the_rate_that_the_others_admit() -> None:
    steps = told(2000, 400, 60.0)
    assert 4.8 <= steps[-1][0] <= 5.1
    assert fullest(steps) <= 420
    assert {count for _, count in steps[:-1]} <= {19, 20, 21}


def test_the_first_go_at_once_and_a_few_do_not_wait() -> None:
    assert told(15, 400, 15.0) == [(0.0, 15)]


def test_a_slow_rate_still_goes_one_by_one() -> None:
    steps = told(10, 4, 60.0)
    assert {count for _, count in steps} == {0, 1}
    assert 1.9 <= steps[-1][0] <= 2.6


def test_the_deadline_makes_it_as_fast_as_needed_and_still_even() -> None:
    steps = told(6000, 400, 6.0)
    assert steps[-1][0] < 6.0
    assert fullest(steps) <= 1100


def test_a_step_that_is_late_is_no_burst_afterwards() -> None:
    steps = told(2000, 400, 60.0, late={10: 3.0})
    assert max(count for _, count in steps) <= 41


@given(
    st.integers(1, 3000),
    st.integers(1, 5000),
    st.floats(0.0, 20.0),
    st.dictionaries(st.integers(0, 50), st.floats(0, 5)),
)
def test_everybody_is_told_by_the_deadline_whatever_is_late(
    clients: int, rate: int, deadline: float, late: dict[int, float]
) -> None:
    """At the first step at or after it, at the latest."""
    steps = told(clients, rate, deadline, late)
    assert sum(count for _, count in steps) == clients
    assert all(count == 0 for at, count in steps[:-1] if at + STEP >= deadline)


def about(name: str, rate: int | None = 300, **more: Any) -> dict[str, Any]:
    return {"incarnation": name} | ({"admission_rate": rate} if rate is not None else {}) | more


def test_those_who_stay_are_summed_up() -> None:
    living = [about("a.1"), about("b.1"), about("c.1", 100), about("d.1", draining=True)]
    assert admitted_elsewhere(living, "a.1", 300) == (400, 2)


def test_one_of_an_older_version_counts_as_one_like_us() -> None:
    assert admitted_elsewhere([about("a.1"), about("b.1", None)], "a.1", 250) == (250, 1)


def test_with_nobody_else_the_pace_is_our_own() -> None:
    assert admitted_elsewhere([about("a.1")], "a.1", 250) == (250, 0)
    assert admitted_elsewhere([], "a.1", 250) == (250, 0)
