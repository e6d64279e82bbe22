"""What a process says it can let in, by what those that came have cost."""

import pytest

from flotilla.realtime.node.capacity import LEAST, MOST, UNKNOWN, Capacity


def after(*stretches: tuple[float, int]) -> Capacity:
    """A process that has used so much CPU and let in so many in each second."""
    made, cpu, admitted = Capacity(), 0.0, 0
    made.look(0.0, 0.0, 0)
    for second, (load, came) in enumerate(stretches, 1):
        cpu, admitted = cpu + load, admitted + came
        made.look(float(second), cpu, admitted)
    return made


def test_until_somebody_came_the_setting_is_said() -> None:
    quiet = after((0.3, 0), (0.3, 1))
    assert (quiet.rate(0), quiet.rate(70)) == (UNKNOWN, 70)


def test_a_tenth_of_a_core_is_for_those_who_come() -> None:
    assert after((0.0, 0), (0.25, 1000)).rate(0) == 400  # 250 µs each


def test_the_other_work_leaves_less() -> None:
    busy = after(*[(0.5, 0)] * 50, (0.75, 1000))
    assert busy.rate(0) == pytest.approx(200, abs=2)  # the same 250 µs, of half a core


def test_the_setting_is_the_most_that_is_said() -> None:
    assert after((0.0, 0), (0.25, 1000)).rate(100) == 100


def test_a_slow_machine_says_less_and_never_nothing() -> None:
    assert after((0.0, 0), (1.0, 20)).rate(0) == LEAST
    assert after(*[(1.0, 0)] * 50, (1.0, 100)).rate(0) in range(LEAST, MOST + 1)


def test_what_was_measured_follows_the_process() -> None:
    changed = after((0.0, 0), (0.25, 1000), *[(0.5, 1000)] * 50)
    assert changed.rate(0) == pytest.approx(200, abs=2)


def test_a_clock_that_stands_still_says_nothing() -> None:
    made = Capacity()
    made.look(1.0, 1.0, 10)
    made.look(1.0, 2.0, 900)
    assert made.rate(0) == UNKNOWN
