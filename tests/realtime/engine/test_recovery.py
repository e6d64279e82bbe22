"""Recovery against a brute-force model of a stream."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.engine.publication import Page, Publication, StreamPosition
from flotilla.realtime.engine.recovery import OUTCOMES, complete, newest, recover


def stored(offsets: range | list[int]) -> tuple[Publication, ...]:
    return tuple(Publication(offset, b"%d" % offset) for offset in offsets)


@given(
    top=st.integers(0, 40),
    kept=st.integers(0, 45),
    holes=st.sets(st.integers(1, 40), max_size=2),
    wanted=st.integers(0, 45),
    epoch=st.sampled_from(["", "now", "before"]),
    limit=st.integers(1, 12),
)
def test_recovers_exactly_when_nothing_is_missing(
    top: int, kept: int, holes: set[int], wanted: int, epoch: str, limit: int
) -> None:
    """Recovered means: same stream, not ahead of it, and every missed publication is there and within the limit."""
    history = [offset for offset in range(max(1, top - kept + 1), top + 1) if offset not in holes]
    found = [offset for offset in history if offset > wanted][: limit + 1]  # as the broker reads it
    answer = recover(StreamPosition(epoch, wanted), Page(StreamPosition("now", top), stored(found)), limit, 60)

    missed = list(range(wanted + 1, top + 1))
    possible = epoch != "before" and wanted <= top and len(missed) <= limit and all(o in history for o in missed)
    assert answer.recovered is possible
    assert [publication.offset for publication in answer.publications] == (missed if possible else [])
    assert (answer.reason or "recovered") in OUTCOMES
    assert bool(answer.reason) is not possible


def test_too_many_bytes_are_not_recovered() -> None:
    """A page that overflowed has no publications, and being at the top does not make it complete."""
    page = Page(StreamPosition("e", 3), (), overflow=True)
    answer = recover(StreamPosition("e", 3), page, 10, 60)
    assert (answer.recovered, answer.reason) == (False, "limit")


@pytest.mark.parametrize("since", [0, 1, 5])
def test_complete_means_every_offset_once(since: int) -> None:
    """Against the definition, for every choice of offsets near every top."""
    near = range(since + 1, since + 7)
    for kept in product([False, True], repeat=len(near)):
        offsets = [offset for offset, there in zip(near, kept, strict=True) if there]
        for top in range(since + 8):
            expected = since <= top and offsets == list(range(since + 1, top + 1))
            assert complete(since, stored(offsets), top) is expected, (offsets, top)


@pytest.mark.parametrize(
    ("wanted", "found", "reason"),
    [
        (StreamPosition("e", 5), range(6, 11), ""),
        (StreamPosition("old", 5), range(6, 11), "epoch"),
        (StreamPosition("e", 2), range(6, 11), "trimmed"),
        (StreamPosition("e", 2), range(0), "expired"),
        (StreamPosition("e", 12), range(0), "ahead"),
        (StreamPosition("e", 0), range(1, 11), "limit"),
    ],
)
def test_the_reason_says_what_was_in_the_way(wanted: StreamPosition, found: range, reason: str) -> None:
    """Each as an operator would call it."""
    assert recover(wanted, Page(StreamPosition("e", 10), stored(found)), 8, 60).reason == reason


@pytest.mark.parametrize(
    ("wanted", "history", "top", "recovered", "given"),
    [
        pytest.param(None, [7, 6, 5], 7, True, [7], id="first time"),
        pytest.param(("", 0), [7, 6, 5], 7, True, [7], id="asked for without a position"),
        pytest.param(("now", 5), [7, 6, 5], 7, True, [7], id="some missed"),
        pytest.param(("now", 1), [7], 7, True, [7], id="more missed than is kept"),
        pytest.param(("now", 7), [7], 7, True, [], id="nothing missed"),
        pytest.param(("now", 7), [], 7, True, [], id="nothing missed, and it has expired"),
        pytest.param(("before", 7), [7], 7, True, [7], id="another stream"),
        pytest.param(("now", 9), [7], 7, True, [7], id="above the top"),
        pytest.param(("now", 5), [], 7, False, [], id="expired"),
        pytest.param(None, [], 0, False, [], id="nothing was ever published"),
        pytest.param(("", 0), [], 0, False, [], id="the same, asked for"),
        pytest.param(("now", 0), [], 0, True, [], id="nothing since"),
    ],
)
def test_the_newest(
    wanted: tuple[str, int] | None, history: list[int], top: int, recovered: bool, given: list[int]
) -> None:
    position = StreamPosition(*wanted) if wanted is not None else None
    answer = newest(position, Page(StreamPosition("now", top), stored(history)), 60, lambda _: True)
    assert answer.recovered is recovered
    assert [publication.offset for publication in answer.publications] == given
    assert (answer.reason or "recovered") in OUTCOMES


@pytest.mark.parametrize(
    ("wanted", "recovered", "given"),
    [
        pytest.param(None, True, [6], id="first time"),
        pytest.param(("now", 4), True, [6], id="missed"),
        pytest.param(("now", 6), True, [], id="has it, and what came since is not for it"),
        pytest.param(("before", 6), True, [6], id="another stream"),
    ],
)
def test_the_newest_that_a_filter_wants(wanted: tuple[str, int] | None, recovered: bool, given: list[int]) -> None:
    position = StreamPosition(*wanted) if wanted is not None else None
    page = Page(StreamPosition("now", 8), stored([8, 7, 6, 5, 4]))
    answer = newest(position, page, 60, lambda publication: publication.offset in (6, 4))
    assert answer.recovered is recovered
    assert [publication.offset for publication in answer.publications] == given
    assert not newest(position, page, 60, lambda _: False).recovered
