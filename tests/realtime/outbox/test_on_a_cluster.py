"""The relay on a Redis Cluster: a slot that is nobody's, or on its way, holds up its own channels alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flotilla.realtime.outbox.stats import forget
from flotilla.store import Store, placement_of, threads
from flotilla.store.slots import slot_of
from tests.realtime.outbox.relaying import Running, put, stream, until
from tests.store.redis_cluster import RedisCluster

pytestmark = pytest.mark.timeout(150)

SHARDS = 2
SLOT = slot_of(1, SHARDS)  # not the first, where the relay notes how far it is


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    made = RedisCluster(tmp_path, 2, options={"cluster-require-full-coverage": "no"})
    yield made
    made.close()


@pytest.fixture
def store(cluster: RedisCluster, settings: Any) -> Iterator[Store]:
    settings.REDIS_URLS = [f"{cluster.url}?shards={SHARDS}"]
    made = Store(settings.REDIS_URLS)
    forget()
    yield made
    forget()
    for shard in made.shards:
        shard.close_sync()


def nobodys(cluster: RedisCluster) -> Callable[[], object]:
    """Nobody has the slot, until what is given back is called."""
    owner = cluster.owner(SLOT)
    for node in cluster.nodes:
        node.ask("CLUSTER", "DELSLOTS", SLOT)
    return lambda: owner.ask("CLUSTER", "ADDSLOTS", SLOT)


def on_its_way(cluster: RedisCluster) -> Callable[[], object]:
    """The same for a slot that is being moved."""
    target = next(node for node in cluster.nodes if node is not cluster.owner(SLOT))
    source = cluster.begin_move(SLOT, target)
    cluster.move_keys(source, target, source.ask("CLUSTER", "GETKEYSINSLOT", SLOT, 1_000_000))
    return lambda: cluster.end_move(SLOT, source, target)


@pytest.mark.usefixtures("channels")
@pytest.mark.parametrize("fault", [nobodys, on_its_way])
def test_a_slot_that_is_not_there_holds_up_its_own_channels_alone(
    fault: Callable[[RedisCluster], Callable[[], object]],
    on_sqlite: str,
    cluster: RedisCluster,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = (f"kept:{number}" for number in range(100))
    places = {store.shard_for(placement_of(name)).index: name for name in names}
    held, free = places[1], places[0]
    with Running(on_sqlite, store) as relay:
        put(on_sqlite, held, 1)
        put(on_sqlite, free, 1)
        until(lambda: stream(store, held) == stream(store, free) == [1])
        monkeypatch.setattr(threads, "HELD_WITHIN", 100.0)  # of a call that waits for its slot
        heal = fault(cluster)
        put(on_sqlite, held, 2, 3)
        until(lambda: relay.stats.waits_for == "Redis 1")
        for number in range(2, 6):
            put(on_sqlite, free, number)
            until(lambda number=number: stream(store, free)[-1] == number)  # type: ignore[misc]
        heal()
        until(lambda: stream(store, held) == [1, 2, 3])
