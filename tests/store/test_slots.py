"""Slots and virtual shards: as Redis counts them, and spread evenly."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flotilla.store.address import SLOTS
from flotilla.store.slots import key_slot, shard_of, slot_of, tags


@pytest.mark.parametrize(
    ("key", "slot"),
    [("123456789", 12739), ("foo", 12182), ("{foo}bar", 12182), ("{}foo", 9500), ("a{foo}{bar}", 12182)],
)
def test_slots_are_those_of_the_specification(key: str, slot: int) -> None:
    assert key_slot(key) == slot


@settings(deadline=None)
@given(st.integers(1, 256))
def test_shards_are_in_the_middle_of_even_shares(shards: int) -> None:
    slots = [slot_of(shard, shards) for shard in range(shards)]
    assert slots == [int((shard + 0.5) * SLOTS / shards) for shard in range(shards)]
    assert [shard_of(slot, shards) for slot in slots] == list(range(shards))
    assert [key_slot(f"a:{{{tag}}}:b") for tag in tags(shards)] == slots


@pytest.mark.parametrize("masters", [1, 2, 3, 4, 6, 12])
def test_twelve_shards_are_even_over_masters_with_even_shares(masters: int) -> None:
    held = [slot_of(shard, 12) * masters // SLOTS for shard in range(12)]
    assert {held.count(master) for master in range(masters)} == {12 // masters}


def test_the_tags_of_twelve_shards_never_change() -> None:
    """They are in every key: processes of different versions must agree."""
    assert " ".join(tags(12)) == "oOF bDe hDp nNe bUg aLK gdZ bfa hft fey bwc anO"
