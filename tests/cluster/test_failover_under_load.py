"""A failover of Redis under load: one master, two replicas, three sentinels, two instances, publishers, subscribers.

Publishing goes on. What was answered is in the new master's stream and every subscriber has it, in order and once; or
the new master lacks what the old one had answered, and then the epoch is another and every subscriber is told.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from flotilla.store import placement_of
from tests.cluster.support.guarded import Guarded
from tests.cluster.support.harness import running
from tests.cluster.support.processes import ON_A_CLUSTER, PATIENCE, eventually
from tests.cluster.test_across_instances import Crowd
from tests.cluster.test_across_redis_outages import Fresh, well
from tests.cluster.test_redis_restarts_under_load import LONG, Load
from tests.store.redis_fleet import Fleet, Server, wait_for

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(240),
    pytest.mark.skipif(ON_A_CLUSTER, reason="sentinels watch one Redis"),
]

WHOLE_WITHIN = 60.0  # seconds the sentinels take until another failover is possible


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("failover"), LONG, "flotilla", "flotilla")
    try:
        with running(made):
            yield made
    finally:
        made.fleet.close()


class Followed(Load):
    """Publishers, and what the master of the moment has of it."""

    def __init__(self, pair: Guarded, channel: str) -> None:
        super().__init__(pair, channel)
        self._fleet = pair.fleet

    def kept(self) -> dict[int, tuple[str, int]]:
        """Number → (epoch, offset) of what stands in the master's stream."""
        master, name = self._fleet.master(), placement_of(self._channel)
        epoch = (master.ask("HGET", name.key("meta"), "e") or b"").decode()
        found = {}
        for id, fields in master.ask("XRANGE", name.key("stream"), "-", "+"):
            data = dict(zip(fields[::2], fields[1::2], strict=True))[b"d"]
            found[msgspec.json.decode(data)["data"]] = (epoch, int(id.partition(b"-")[0]))
        return found

    async def lost(self) -> list[int]:
        kept = await asyncio.to_thread(self.kept)
        return [n for n, placed in self.answered.items() if kept.get(n) != placed]


async def planned(fleet: Fleet) -> Server:
    old = fleet.master()
    await asyncio.to_thread(fleet.fail_over)
    return old


async def planned_with_writes_held_back(fleet: Fleet) -> Server:
    """As docs/SCALE_OUT.md says it for processes that cannot foresee a failover."""
    await asyncio.to_thread(fleet.master().ask, "CLIENT", "PAUSE", 5000, "WRITE")
    return await planned(fleet)


async def killed(fleet: Fleet) -> Server:
    old = fleet.master()
    await asyncio.to_thread(old.kill)
    return old


@pytest.mark.parametrize("way", [planned, planned_with_writes_held_back, killed])
async def test_publishing_goes_on_and_nobody_misses_anything_without_being_told(
    pair: Guarded, fresh: Fresh, way: Any
) -> None:
    await well(pair)
    await asyncio.to_thread(wait_for, pair.fleet.whole, "the fleet is whole", WHOLE_WITHIN)
    channel = fresh("open")
    load = Followed(pair, channel)
    async with Crowd() as crowd:
        clients = [*await crowd.join(pair[0], channel, "ann"), *await crowd.join(pair[1], channel, "bob")]
        async with load.running():
            await load.more()
            old = await way(pair.fleet)
            await eventually(lambda: pair.fleet.master() is not old, "another master", 60)
            newest = max(load.answered)
            await eventually(lambda: max(load.kept(), default=0) > newest, "the new master has new ones", 60)
            if way is not killed:
                assert await asyncio.to_thread(old.is_master), "they went over only when the old master ended"
            await load.more()
        lost = await load.lost()
        epochs = {epoch for epoch, _ in load.answered.values()}
        print(f"{way.__name__}: {len(lost)} of {len(load.answered)} answered publications lost, {len(epochs)} epochs")
        if way is killed:
            await asyncio.to_thread(old.start)
        if len(epochs) == 1 or way is planned_with_writes_held_back:
            assert lost == []
            top = max(offset for _, offset in load.answered.values())
            for client in clients:
                await eventually(lambda c=client: len(c.publications(channel)) >= top, "it has all", PATIENCE)
                assert [one["offset"] for one in client.publications(channel)] == list(range(1, top + 1))
                assert client.pushes(channel, "unsubscribe") == []
            return
        last = load.answered[max(load.answered)][0]
        assert {load.answered[n][0] for n in lost} <= epochs - {last}
        for client in clients:
            assert await client.push("unsubscribe", channel) == {"code": 2500, "reason": "insufficient state"}
