"""Recovery against a brute-force model of a stream."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.engine.publication import Page, Publication, StreamPosition
from flotilla.realtime.engine.recovery import OUTCOMES, complete, recover


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
