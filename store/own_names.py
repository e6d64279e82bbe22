"""Names on given shards, for who has to reach every one of them: heartbeats, checks."""

from itertools import count

from flotilla.store.placement import placement_of
from flotilla.store.shards import Store


def name_per_shard(store: Store, beginning: str) -> list[str]:
    """A name for each shard, in their order, which lives there. No channel may have such a name: the beginning has to
    make sure of it."""
    found: dict[int, str] = {}
    for number in count():
        name = f"{beginning}{number}"
        found.setdefault(store.shard_for(placement_of(name)).index, name)
        if len(found) == len(store.shards):
            return [found[index] for index in sorted(found)]
    raise AssertionError
