"""The allowance of a connection: nobody who keeps to it in every second is refused, whoever does not soon is."""

import pytest

from flotilla.realtime.server import budget as module
from flotilla.realtime.server.budget import Allowance, Budget


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.reads = 0

    def monotonic(self) -> float:
        self.reads += 1
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_a_steady_client_within_its_allowance_is_never_refused(clock: Clock) -> None:
    budget = Budget(Allowance(frames=100, bytes=10_000))
    for _ in range(5000):
        clock.now += 0.0101
        assert budget.spend(1, 99)
    assert clock.reads < 60, "the clock is read seldom"


def test_a_whole_second_may_come_at_once(clock: Clock) -> None:
    budget = Budget(Allowance(frames=100, bytes=10_000))
    for _ in range(50):
        clock.now += 1.0
        assert all(budget.spend(1, 100) for _ in range(100))


@pytest.mark.parametrize(("frames", "size"), [(1, 0), (0, 100), (30, 1)])
def test_nobody_has_more_than_two_seconds_worth_in_one(clock: Clock, frames: int, size: int) -> None:
    budget = Budget(Allowance(frames=100, bytes=10_000))
    spent = 0
    while budget.spend(frames, size):
        spent += 1
    assert spent * frames <= 200
    assert spent * size <= 20_000
    assert not budget.spend(frames, size), "it stays refused in the same second"


def test_the_next_second_is_allowed_again(clock: Clock) -> None:
    budget = Budget(Allowance(frames=10, bytes=10_000))
    while budget.spend(1, 1):
        pass
    clock.now += 1.0
    assert budget.spend(1, 1)


def test_a_client_slightly_above_its_allowance_is_refused(clock: Clock) -> None:
    """However evenly it comes."""
    budget = Budget(Allowance(frames=100, bytes=10_000))
    for _ in range(400):
        clock.now += 0.0095
        if not budget.spend(1, 10):
            return
    pytest.fail("nobody noticed")
