"""Where names live: pure, stable, safe for any name."""

import re

from hypothesis import given
from hypothesis import strategies as st

from flotilla.store import placement_of
from flotilla.store.placement import PARTITIONS


def test_a_placement_never_changes() -> None:
    """Processes of different versions must agree: these values are part of the cluster's contract."""
    placed = placement_of("chat:lobby")
    assert placed.tag == "02208d6f9c90534f97f0"
    assert placed.topic == "flotilla__group__02208d6f9c90534f97f0"
    assert placed.key("meta") == "flotilla:meta:{p2}:02208d6f9c90534f97f0"
    assert placed.partition_key("partition") == "flotilla:partition:{p2}"


@given(st.text())
def test_any_name_makes_a_clean_tag(name: str) -> None:
    """Braces, spaces and unicode never reach a key; every kind of key has the same single hash tag."""
    placed = placement_of(name)
    assert re.fullmatch("[0-9a-f]{20}", placed.tag)
    assert placed.group == placed.tag
    for key in (placed.key("meta"), placed.key("stream"), placed.partition_key("made")):
        assert re.findall(r"\{(.*?)\}", key) == [f"p{placed.partition}"]
    assert placed.partition in range(PARTITIONS)
    assert all(mark in range(2**17) for mark in placed.marks)


@given(st.sets(st.text(max_size=20), max_size=20))
def test_different_names_live_apart(names: set[str]) -> None:
    """No two names share a tag."""
    assert len({placement_of(name).tag for name in names}) == len(names)
