"""Pauses before what failed is tried again."""

import pytest

from flotilla.store.backoff import Backoff, jittered


def test_each_failure_doubles_the_pause_up_to_the_longest_and_a_success_begins_anew() -> None:
    backoff = Backoff(0.1, 0.5, jitter=lambda: 0.0)
    assert [backoff.next() for _ in range(4)] == pytest.approx([0.1, 0.2, 0.4, 0.5])
    backoff.reset()
    assert backoff.next() == pytest.approx(0.1)


def test_no_two_pause_alike() -> None:
    """A random part of up to a half is taken away, here and where a pause does not grow."""
    assert len({Backoff(1.0).next() for _ in range(20)}) > 1
    assert all(0.5 <= Backoff(1.0).next() <= 1.0 for _ in range(50))
    assert len({jittered(1.0) for _ in range(20)}) > 1
    assert all(0.5 <= jittered(1.0) <= 1.0 for _ in range(50))
