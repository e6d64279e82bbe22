"""What a process makes of the marks of its Redises: it joins their layout, begins another, or is refused."""

import pytest

from flotilla.store.errors import StoreRefused, StoreUnavailable
from flotilla.store.layout_marks import ENDING, HELD, OPEN, Ids, Mark, Unsettled, begun, deserted, joined

AWAY = StoreUnavailable("away")


def mark(ids: str, number: str, others: int = 0, state: str = "") -> Mark:
    return Mark(False, tuple(ids), number, others, state)


NONE, FIRST, SECOND = mark("", ""), mark("ab", "0"), mark("ab", "1")


@pytest.mark.parametrize(
    ("found", "ids"),
    [
        ([FIRST, SECOND], ("a", "b")),
        ([mark("ab", "0", 5), mark("ab", "1", 4)], ("a", "b")),
        ([FIRST, AWAY], ("a", "b")),  # those that answer are enough
        ([AWAY, SECOND], ("a", "b")),
        ([NONE, NONE], None),
        ([FIRST, NONE], None),  # one has lost its data, and nobody has come back
        ([mark("a", "0"), NONE], None),  # one more
        ([mark("abc", "0"), mark("abc", "1")], None),  # one less
        ([mark("abc", "0", state=OPEN), mark("abc", "2", state=OPEN)], None),
        ([mark("ba", "1", state=OPEN), mark("ba", "0", state=OPEN)], None),  # which was taken along
    ],
)
def test_who_may_come(found: list[Mark | StoreUnavailable], ids: Ids | None) -> None:
    assert joined(found) == ids


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([mark("ab", "0", state=ENDING), SECOND], "at work on Redis 0"),
        ([FIRST, mark("", "", state=HELD)], "at work on Redis 1"),
        ([mark("ab", "0", state=OPEN), mark("ab", "1", state=OPEN)], "has ended this layout"),
        ([mark("a", "0", 3), NONE], "3 processes use Redis 0 of these 2 as number 0 of 1"),
        ([SECOND, FIRST], "the first Redis"),
        ([NONE, FIRST], "the first Redis"),
    ],
)
def test_who_is_refused(found: list[Mark | StoreUnavailable], says: str) -> None:
    with pytest.raises(StoreRefused, match=says) as refused:
        joined(found)
    assert refused.value.code == "LAYOUT"


def test_who_tries_again_in_a_moment() -> None:
    with pytest.raises(Unsettled, match="2 processes use with Redis 0"):
        joined([mark("ab", "0", 2), NONE])


@pytest.mark.parametrize("found", [[AWAY, AWAY], [NONE, AWAY], [AWAY, mark("abc", "2", 1)]])
def test_a_redis_that_is_away_would_have_to_be_asked(found: list[Mark | StoreUnavailable]) -> None:
    with pytest.raises(StoreUnavailable) as away:
        joined(found)
    assert away.value is AWAY


def test_what_is_left_behind_is_seen() -> None:
    """Who begins the first layout, or the same again, leaves nobody behind."""
    assert not deserted([NONE, NONE])
    assert not deserted([FIRST, NONE])
    assert deserted([mark("a", "0"), NONE])
    assert deserted([mark("abc", "0"), mark("abc", "1")])
    assert not deserted([mark("abc", "0", state=OPEN), mark("abc", "1", state=OPEN)])


def test_a_redis_keeps_its_id() -> None:
    ids = begun([mark("abc", "0"), NONE, mark("abc", "2")])
    assert (ids[0], ids[2]) == ("a", "c")
    assert len(set(ids)) == 3
    assert len(set(begun([mark("ab", "1"), mark("ab", "1")]))) == 2  # one of them is a copy
