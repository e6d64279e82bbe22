"""How often a loop turns, beside a loop that is simulated event by event."""

import random

import pytest

from flotilla.ops.plan.turns import reached, turns


def simulated(events: float, each: float, wake: float, count: int = 40_000) -> float:
    """Turns a second of a loop whose events come independently of each other."""
    clock = random.Random(7)
    arrivals, now = [], 0.0
    for _ in range(count):
        now += clock.expovariate(events)
        arrivals.append(now)
    free, number, done = 0.0, 0, 0
    while done < count:
        begins = max(free, arrivals[done])
        there = done
        while there < count and arrivals[there] <= begins:
            there += 1
        free = begins + wake + (there - done) * each
        number, done = number + 1, there
    return number / max(free, now)


@pytest.mark.parametrize("events", [10.0, 200.0, 1_000.0, 3_000.0, 5_000.0])
def test_turns_are_those_of_a_loop(events: float) -> None:
    each, wake = 100e-6, 200e-6
    found = turns(events, lambda count: events * each + count * wake)
    assert found == pytest.approx(simulated(events, each, wake), rel=0.12)


def test_alone_each_event_is_a_turn_and_a_full_loop_turns_no_more() -> None:
    assert turns(1.0, lambda count: 0.0001 + count * 200e-6) == pytest.approx(1.0, rel=0.01)
    assert turns(0.0, lambda count: 0.5) == 0.0
    assert turns(10_000.0, lambda count: 1.2) == pytest.approx(0.0, abs=1e-6)


def test_a_room_reaches_as_many_instances_as_it_has_members_for() -> None:
    assert reached(1, 10) == 1
    assert reached(5, 1) == 1
    assert reached(2, 10) == pytest.approx(1.9)
    assert reached(1_000_000, 50) == pytest.approx(50)
