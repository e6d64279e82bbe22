"""Pauses between starts."""

from flotilla.realtime.server.backoff import Backoff


def certain(**options: float) -> Backoff:
    return Backoff(jitter=lambda: 0.0, **options)


def test_each_failure_doubles_the_pause_up_to_the_longest() -> None:
    backoff = certain(first=1.0, longest=5.0)
    assert [backoff.pause(0.1) for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_running_for_long_enough_forgives_earlier_failures() -> None:
    backoff = certain(first=1.0, stayed_up=10.0)
    backoff.pause(0.1)
    backoff.pause(9.9)
    assert backoff.pause(10.0) == 1.0
    assert backoff.pause(0.0) == 2.0


def test_jitter_takes_away_up_to_a_half() -> None:
    assert Backoff(first=4.0, jitter=lambda: 1.0).pause(0) == 2.0
    assert all(2.0 <= Backoff(first=4.0).pause(0) <= 4.0 for _ in range(50))


def test_countless_failures_do_not_overflow() -> None:
    backoff = certain(longest=30.0)
    assert [backoff.pause(0) for _ in range(5000)][-1] == 30.0
