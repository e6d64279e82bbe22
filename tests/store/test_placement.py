"""Where names live: pure, stable, safe for any name."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flotilla.store import placement_of, whole_placement
from flotilla.store.placement import BESIDE, PARTITIONS, SlotPlacement, partition_placement, partitions_of
from flotilla.store.shards import layer_hash
from flotilla.store.slots import key_slot, slot_of


def test_a_placement_never_changes() -> None:
    """Processes of different versions must agree: these values are part of the cluster's contract."""
    placed = placement_of("chat:lobby")
    assert placed.tag == "02208d6f9c90534f97f0"
    assert placed.topic == "flotilla__group__02208d6f9c90534f97f0"
    assert placed.key("meta") == "flotilla:meta:{p2}:02208d6f9c90534f97f0"
    assert placed.partition_key("partition") == "flotilla:partition:{p2}"


def test_what_follows_from_a_name_is_beside_it() -> None:
    placed = placement_of("$clients:chat:lobby")
    assert placed.tag == "17554f725388b04e96bf.2dc8"
    assert placed.key("meta") == "flotilla:meta:{p2}:17554f725388b04e96bf.2dc8"


@settings(deadline=None)
@given(st.text(max_size=30), st.sampled_from(BESIDE))
def test_a_name_beside_another_shares_its_partition_and_its_redis(name: str, prefix: str) -> None:
    """However many Redises there are; and they are two names."""
    beside, placed = placement_of(prefix + name), placement_of(name)
    assert beside.partition == placed.partition and beside.tag != placed.tag
    assert all(layer_hash(beside.topic, n) == layer_hash(placed.topic, n) for n in range(1, 40))
    assert re.fullmatch(r"[0-9a-f]{20}\.[0-9a-f]{4}", beside.tag)
    assert all(mark in range(2**17) for mark in beside.marks)


@given(st.text().filter(lambda name: not name.startswith(BESIDE)))
def test_any_name_makes_a_clean_tag(name: str) -> None:
    """Braces, spaces and unicode never reach a key; every kind of key has the same single hash tag."""
    placed = placement_of(name)
    assert re.fullmatch("[0-9a-f]{20}", placed.tag)
    assert placed.group == placed.tag
    for key in (placed.key("meta"), placed.key("stream"), placed.partition_key("made")):
        assert re.findall(r"\{(.*?)\}", key) == [f"p{placed.partition}"]
    assert placed.partition in range(PARTITIONS)
    assert all(mark in range(2**17) for mark in placed.marks)


@pytest.fixture
def in_cluster(settings: Any) -> Callable[[int], None]:
    def configure(shards: int) -> None:
        settings.REDIS_URLS = [f"redis+cluster://one,two?shards={shards}"]

    return configure


def test_a_placement_in_a_cluster_never_changes(in_cluster: Callable[[int], None]) -> None:
    """As above: with another number of shards everything lives elsewhere."""
    in_cluster(12)
    placed = placement_of("chat:lobby")
    assert placed.topic == "flotilla__group__{hft}02208d6f9c90534f97f0"
    assert placed.group == "{hft}02208d6f9c90534f97f0"
    assert placed.key("meta") == "flotilla:meta:{hft}:p2:02208d6f9c90534f97f0"
    assert placed.partition_key("partition") == "flotilla:partition:{hft}:p2"
    assert whole_placement("leases").key("pl") == "flotilla:pl:{oOF}:leases"


@pytest.mark.parametrize("shards", [1, 3, 12, 64, 256])
def test_all_of_a_shard_of_a_cluster_is_in_one_slot(in_cluster: Callable[[int], None], shards: int) -> None:
    in_cluster(shards)
    seen = set()
    for number in range(2000):
        placed = placement_of(f"chat:{number}")
        assert isinstance(placed, SlotPlacement)
        beside = placement_of(f"$users:chat:{number}")
        kinds = ("meta", "stream")
        names = [placed.topic, placed.partition_key("partition"), *map(placed.key, kinds), *map(beside.key, kinds)]
        names += [beside.topic, partition_placement(placed.partition or 0, placed.shard, shards).partition_key("votes")]
        assert {key_slot(name) for name in names} == {slot_of(placed.shard, shards)}
        assert placed.partition in range(partitions_of(shards)) and beside.partition == placed.partition
        assert beside.tag != placed.tag
        seen.add(placed.shard)
    assert len(seen) == shards


@given(st.sets(st.text(max_size=20), max_size=20))
def test_different_names_live_apart(names: set[str]) -> None:
    """No two names share a tag."""
    assert len({placement_of(name).tag for name in names}) == len(names)
