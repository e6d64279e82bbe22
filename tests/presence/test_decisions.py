"""The pure decisions: continuity of the own lease, two sightings, what is left over."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.presence.decisions import Continuity, Sightings, chunks, leftovers, may_reap, orphans

TTL, EVERY = 6.0, 2.0


def renewed_every(period: float, until: float, answer: float = 0.01) -> Continuity:
    """A lease renewed at 0, period, 2·period, …"""
    continuity = Continuity(TTL, EVERY)
    at = 0.0
    while at <= until:
        continuity.renewed(at, at + answer)
        at += period
    return continuity


def test_nobody_is_confident_before_the_first_renewal() -> None:
    assert not Continuity(TTL, EVERY).unbroken(100.0)


def test_confidence_takes_one_full_lease() -> None:
    continuity = renewed_every(EVERY, until=6.0)
    assert not continuity.unbroken(6.0)
    assert continuity.unbroken(6.02)


def test_confidence_ends_when_the_next_renewal_is_overdue() -> None:
    continuity = renewed_every(EVERY, until=8.0)
    assert continuity.unbroken(10.9)
    assert not continuity.unbroken(11.1)


@pytest.mark.parametrize("answer", [1.0, 5.0])
def test_slow_answer_begins_the_lease_anew(answer: float) -> None:
    continuity = renewed_every(EVERY, until=8.0)
    continuity.renewed(10.0, 10.0 + answer)
    assert not continuity.unbroken(10.0 + answer)
    assert not continuity.unbroken(11.9)


def test_late_renewal_begins_the_lease_anew() -> None:
    continuity = renewed_every(EVERY, until=8.0)
    continuity.renewed(11.5, 11.51)
    assert not continuity.unbroken(11.6)
    continuity.renewed(13.5, 13.51)
    continuity.renewed(15.5, 15.51)
    continuity.renewed(17.5, 17.51)
    assert continuity.unbroken(17.6)


def test_broken_lease_is_not_confident_at_once_after() -> None:
    continuity = renewed_every(EVERY, until=8.0)
    continuity.broken()
    assert not continuity.unbroken(8.1)
    continuity.renewed(8.2, 8.21)
    assert not continuity.unbroken(10.0)


EIGHTHS = st.integers(0, 32).map(lambda eighths: eighths / 8)  # exact in floating point


@given(st.lists(EIGHTHS, min_size=1, max_size=30), EIGHTHS)
def test_confidence_means_no_gap_within_the_last_lease(gaps: list[float], wait: float) -> None:
    continuity = Continuity(TTL, EVERY)
    at, sent = 0.0, []
    for gap in gaps:
        at += gap
        continuity.renewed(at, at)
        sent.append(at)
    now = at + wait
    if continuity.unbroken(now):
        covered = [now, *reversed(sent)]
        inside = [later - earlier for later, earlier in pairwise(covered) if later > now - TTL]
        assert sent[0] <= now - TTL
        assert max(inside) <= EVERY + TTL / 6


def test_two_sightings_in_a_row_are_needed() -> None:
    sightings = Sightings()
    assert sightings.confirm({"a": False}) == set()
    assert sightings.confirm({"b": False}) == set()
    assert sightings.confirm({"a": False, "b": False}) == {"b"}
    sightings.forget()
    assert sightings.confirm({"a": False, "b": False}) == set()


def test_reaping_needs_own_lease_quick_answer_and_continuity() -> None:
    continuity = renewed_every(EVERY, until=8.0)
    assert may_reap(continuity, 9.0, 9.01, own_lease_held=True)
    assert not may_reap(continuity, 9.0, 9.01, own_lease_held=False)
    assert not may_reap(continuity, 9.0, 10.0, own_lease_held=True)
    assert not may_reap(Continuity(TTL, EVERY), 9.0, 9.01, own_lease_held=True)


def test_leftovers_are_neither_entered_nor_being_entered() -> None:
    assert leftovers(["a", "b", "c"], {"a": 1}, {"b"}) == ["c"]


def test_orphans_are_in_no_list() -> None:
    assert orphans(["x", "y"], {"x"}) == ["y"]


@given(st.lists(st.integers()), st.integers(1, 7))
def test_chunks_keep_everything_in_order(items: list[int], size: int) -> None:
    pieces = list(chunks(items, size))
    assert [item for piece in pieces for item in piece] == items
    assert all(0 < len(piece) <= size for piece in pieces)
