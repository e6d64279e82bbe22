"""Several Redises are asked at the same time, by threads that keep the deadline of the one that asks."""

import threading

import pytest

from flotilla.store.deadline import bounded, within
from flotilla.store.together import AT_ONCE, together

LONG = 30.0  # seconds, which nothing here takes


@pytest.mark.parametrize("count", [2, AT_ONCE])
def test_all_are_asked_before_any_has_answered(count: int) -> None:
    everybody = threading.Barrier(count)

    def asked(number: int) -> int:
        everybody.wait(LONG)
        return number

    assert together([lambda number=number: asked(number) for number in range(count)]) == list(range(count))


def test_more_than_there_are_threads_for_are_asked_in_turns() -> None:
    assert together([lambda number=number: number for number in range(3 * AT_ONCE)]) == list(range(3 * AT_ONCE))


def test_one_alone_is_asked_by_the_thread_itself() -> None:
    assert together([threading.get_ident]) == [threading.get_ident()]
    assert together([]) == []


def test_the_deadline_is_kept() -> None:
    before = bounded(LONG)
    with within(LONG / 2):
        first, second = together([lambda: bounded(LONG), lambda: bounded(LONG)])
    assert first <= LONG / 2 and second <= LONG / 2
    assert together([lambda: bounded(LONG)] * 2) == [before] * 2 == [LONG] * 2


def test_the_first_error_is_raised_when_all_have_ended() -> None:
    ended = threading.Event()

    def first() -> None:
        ended.wait(LONG)
        raise LookupError("first")

    def second() -> None:
        ended.set()
        raise LookupError("second")

    with pytest.raises(LookupError, match="first"):
        together([first, second])
    assert ended.is_set()
