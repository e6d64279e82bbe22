"""When nobody waits for Redis any more, and when somebody looks again."""

import pytest

from flotilla.ratelimit.breaker import APART, FAILURES, FIRST_PAUSE, MAX_PAUSE, Breaker


class Clock:
    """A clock that goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(breaker: Breaker, clock: Clock, times: int) -> None:
    for _ in range(times):
        clock.now += APART
        breaker.failed()


def test_it_opens_after_failures_in_a_row_and_a_success_between_begins_anew(clock: Clock) -> None:
    breaker = Breaker(clock)
    fail(breaker, clock, FAILURES - 1)
    assert breaker.closed()
    breaker.succeeded()
    fail(breaker, clock, FAILURES - 1)
    assert breaker.closed()
    fail(breaker, clock, 1)
    assert not breaker.closed()


def test_what_fails_together_is_one_failure(clock: Clock) -> None:
    breaker = Breaker(clock)
    clock.now += 1
    for _ in range(100):
        breaker.failed()
    assert breaker.closed()


def test_a_redis_that_was_silent_until_it_was_given_up_needs_no_second_failure(clock: Clock) -> None:
    breaker = Breaker(clock)
    breaker.failed(for_long=True)
    assert not breaker.closed()


def test_one_probe_a_pause_and_pauses_grow_to_a_bound(clock: Clock) -> None:
    breaker = Breaker(clock, jitter=lambda: 0.0)
    fail(breaker, clock, FAILURES)
    pauses = []
    for _ in range(8):
        began = clock.now
        while not breaker.closed():
            clock.now += 0.001
        assert not breaker.closed(), "a second probe in the same pause"
        pauses.append(clock.now - began)
        breaker.failed()
    assert pauses == sorted(pauses)
    assert pauses[0] == pytest.approx(FIRST_PAUSE, abs=0.002)
    assert pauses[-1] == pytest.approx(MAX_PAUSE, abs=0.002)


def test_two_breakers_that_opened_together_do_not_probe_together(clock: Clock) -> None:
    """Each pause lacks a random part of up to a half."""
    probes = set()
    for part in (0.0, 0.5, 1.0):
        breaker = Breaker(clock, jitter=lambda part=part: part)
        fail(breaker, clock, FAILURES)
        probes.add(breaker._probe_at - clock.now)
    assert sorted(probes) == pytest.approx([FIRST_PAUSE * 0.5, FIRST_PAUSE * 0.75, FIRST_PAUSE])


def test_a_probe_that_succeeds_closes_it(clock: Clock) -> None:
    breaker = Breaker(clock)
    fail(breaker, clock, FAILURES)
    clock.now += MAX_PAUSE
    assert breaker.closed()
    breaker.succeeded()
    assert [breaker.closed() for _ in range(3)] == [True] * 3
