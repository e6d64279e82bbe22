"""What waits for a subscription that is fed: everything, or the newest of each key."""

from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.engine.pending import Conflated, Pending, Waiting, conflated
from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.protocol.replies import publication_body


def keyed(offset: int, key: str = "") -> Publication:
    return Publication(offset, publication_body(b"%d" % offset, key=key))


def drained(waiting: Waiting) -> list[int]:
    found = []
    while len(waiting):
        first = waiting.first()
        assert waiting.take() is first
        found.append(first.offset)
    assert waiting.bytes == 0
    return found


def test_everything_waits_in_order() -> None:
    waiting = Pending()
    for offset in (1, 2, 3):
        assert waiting.freed_by(keyed(offset, "a")) == 0
        waiting.add(keyed(offset, "a"))
    assert waiting.bytes == 3 * len(keyed(1, "a").body)
    assert drained(waiting) == [1, 2, 3]


def test_the_newest_of_each_key_waits_at_its_own_place() -> None:
    waiting = Conflated()
    for offset, key in enumerate(["a", "b", "", "a", "c", "b", "", "a"], 1):
        waiting.add(keyed(offset, key))
    assert waiting.freed_by(keyed(9, "a")) == len(keyed(8, "a").body)
    assert waiting.freed_by(keyed(9)) == 0
    assert waiting.skipped == 3
    assert drained(waiting) == [3, 5, 6, 7, 8]


def test_clearing_forgets_everything() -> None:
    for waiting in (Pending(), Conflated()):
        waiting.add(keyed(1, "a"))
        waiting.clear()
        assert drained(waiting) == []


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_whoever_breaks_off_lacks_nothing_below_what_it_got(keys: list[str], breaks: list[int]) -> None:
    """However often some of it is taken in between, what was left out is older than something of its key that waits or
    was given, and offsets only rise: so a client can recover from the last offset that it was given."""
    waiting, given_offsets = Conflated(), []
    for offset, key in enumerate(keys, 1):
        if offset in breaks and len(waiting):
            given_offsets.append(waiting.take().offset)
        waiting.add(keyed(offset, key))
        last = given_offsets[-1] if given_offsets else 0
        newest = {one: at for at, one in enumerate(keys[:offset], 1)}
        left = [publication.offset for publication in waiting]
        assert all(at in left for at in newest.values() if at > last)
    rest = drained(waiting)
    assert [*given_offsets, *rest] == sorted({*given_offsets, *rest})


def test_a_list_is_conflated() -> None:
    assert [one.offset for one in conflated([keyed(1, "a"), keyed(2, "b"), keyed(3, "a")])] == [2, 3]
