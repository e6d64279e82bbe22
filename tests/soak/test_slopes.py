"""The verdict can fail, and does not where nothing grows: series that are made up."""

import math
import random

import pytest

from tests.soak.series import JUDGED, WARM_UP, bound_of, judge
from tests.soak.slopes import LEAST_BLOCKS, Bound, Verdict, slope

TIMES = [5.0 * number for number in range(240)]  # twenty minutes
BOUND = Bound(0.05, 2.0)
CHANCES = range(20)


def noisy(
    seed: int, per_hour: float = 0.0, level: float = 100.0, noise: float = 0.4, memory: float = 0.0
) -> list[float]:
    """A series; `memory`: how much of its deviation is still there at the next sample."""
    chance, off, found = random.Random(seed), 0.0, []
    for time in TIMES:
        off = memory * off + chance.gauss(0, noise)
        found.append(level + per_hour * time / 3600 + off)
    return found


@pytest.mark.parametrize("seed", CHANCES)
def test_noise_is_flat(seed: int) -> None:
    assert slope(TIMES, noisy(seed)).verdict(BOUND) is Verdict.FLAT


@pytest.mark.parametrize("seed", CHANCES)
def test_noise_that_remembers_is_not_called_growth(seed: int) -> None:
    """It wanders, as memory does: an interval for independent samples would call it growth again and again."""
    assert slope(TIMES, noisy(seed, noise=0.5, memory=0.97)).verdict(BOUND) is not Verdict.GROWS


@pytest.mark.parametrize("seed", CHANCES)
def test_a_slow_leak_is_found(seed: int) -> None:
    found = slope(TIMES, noisy(seed, per_hour=10.0))
    assert found.verdict(BOUND) is Verdict.GROWS
    assert found.per_hour == pytest.approx(10.0, rel=0.3)


def test_the_interval_has_the_truth_in_it_as_often_as_it_says() -> None:
    found = [slope(TIMES, noisy(seed, per_hour=10.0)) for seed in range(60)]
    assert 52 <= sum(one.low <= 10.0 <= one.high for one in found) < 60


def test_a_leak_below_the_bound_is_flat() -> None:
    assert slope(TIMES, noisy(1, per_hour=2.0)).verdict(BOUND) is Verdict.FLAT


def test_what_falls_is_flat() -> None:
    assert slope(TIMES, noisy(1, per_hour=-60.0)).verdict(BOUND) is Verdict.FLAT


def test_outliers_do_not_decide() -> None:
    """A tenth of the samples is anything, later ones more often."""
    chance, values = random.Random(7), noisy(7)
    for number in chance.sample(range(120, 240), 24):
        values[number] += 500.0
    assert slope(TIMES, values).verdict(BOUND) is Verdict.FLAT


def test_a_saw_is_flat_and_its_teeth_do_not_hide_growth() -> None:
    saw = [100.0 + (time % 60) / 10 for time in TIMES]
    assert slope(TIMES, saw).verdict(BOUND) is Verdict.FLAT
    rising = [value + 30.0 * time / 3600 for value, time in zip(saw, TIMES, strict=True)]
    assert slope(TIMES, rising).verdict(BOUND) is Verdict.GROWS


def test_growth_in_steps_is_growth() -> None:
    """As memory grows: an arena at a time."""
    values = [100.0 + math.floor(time / 240) for time in TIMES]
    assert slope(TIMES, values).verdict(BOUND) is Verdict.GROWS


def test_too_short_a_run_says_nothing() -> None:
    """It is not flat because nobody looked for long."""
    assert slope(TIMES[:12], noisy(3)[:12]).verdict(BOUND) is Verdict.UNCLEAR
    with pytest.raises(ValueError, match="too few"):
        slope(TIMES[: LEAST_BLOCKS - 1], noisy(3)[: LEAST_BLOCKS - 1])


def test_what_never_moves_has_no_slope() -> None:
    found = slope(TIMES, [7.0] * len(TIMES))
    assert (found.per_hour, found.low, found.high) == (0, 0, 0)
    assert found.verdict(Bound(0.0, 1.0)) is Verdict.FLAT


def test_the_warm_up_is_left_out() -> None:
    warm = int(len(TIMES) * WARM_UP)
    samples = [{"unit-0: memory": 50.0 + min(number, warm)} for number in range(len(TIMES))]
    (found,) = judge(TIMES, samples)
    assert found.verdict is Verdict.FLAT
    (whole,) = judge(TIMES, samples, warm_up=0.0)
    assert whole.verdict is not Verdict.FLAT


def test_what_a_sample_does_not_have_was_none() -> None:
    """A kind of keys that comes up later."""
    samples = [{"keys: late": number - 90} if number > 90 else {"redis: keys": 5.0} for number in range(len(TIMES))]
    verdicts = {one.name: one.verdict for one in judge(TIMES, samples)}
    assert verdicts["keys: late"] is Verdict.GROWS


def test_each_series_has_the_bound_of_its_kind() -> None:
    assert bound_of("unit-1: memory") == bound_of("serve: memory") != bound_of("redis: memory")
    assert bound_of("clients: connections") is None
    assert all(bound.at(0.0) > 0 for _, bound, _ in JUDGED)
