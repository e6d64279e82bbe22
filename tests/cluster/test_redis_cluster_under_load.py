"""A Redis Cluster under load: a master is killed, hangs, or hands over, and slots move, below the official clients.

Two instances, publishers that repeat what is not answered, and a client of each SDK on both. Publishing goes on. Nobody
misses anything that was answered without being told. What the nodes agree on loses nothing at all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flotilla.store import placement_of
from flotilla.store.slots import key_slot
from tests.cluster.support.harness import Cluster, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import token
from tests.cluster.support.redis_nodes import RedisNodes
from tests.cluster.support.sdk import SdkClient
from tests.cluster.test_across_redis_outages import Fresh, well
from tests.cluster.test_redis_restarts_under_load import LONG, Load
from tests.store.redis_cluster import RedisCluster
from tests.store.redis_fleet import wait_for

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

WITHIN = 60.0  # seconds


class OnNodes(Cluster):
    """Instances on three masters and three replicas."""

    def __init__(self, home: Path, config: dict[str, Any], *servers: str) -> None:
        self.nodes = RedisNodes(home)
        super().__init__(home, config, *servers, REDIS_URL=self.nodes.url)
        self.redis = self.nodes


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnNodes]:
    with running(OnNodes(tmp_path_factory.mktemp("nodes"), LONG, "flotilla", "flotilla")) as made:
        yield made


class Followed(Load):
    """Publishers, and what the master of the moment has of it."""

    def __init__(self, pair: OnNodes, channel: str) -> None:
        super().__init__(pair, channel)
        self._nodes = pair.nodes

    def key(self, kind: str) -> str:
        """A key of the channel, which ends with its tag wherever it lies."""
        with self._nodes.client() as client:
            found = next(client.scan_iter(match=f"flotilla:{kind}:*{placement_of(self._channel).tag}"))
            return str(found.decode())

    def slot(self) -> int:
        """The slot of all that the channel has."""
        return key_slot(self.key("meta"))

    def _lost(self) -> list[int]:
        with self._nodes.client() as client:
            entries = client.xrange(self.key("stream"))
            (epoch,) = client.hmget(self.key("meta"), "e")
        kept = {msgspec.json.decode(fields[b"d"])["data"]: int(id.partition(b"-")[0]) for id, fields in entries}
        return [n for n, placed in self.answered.items() if (epoch.decode(), kept.get(n)) != placed]


async def master_killed(nodes: RedisCluster, slot: int) -> None:
    master = await asyncio.to_thread(nodes.owner, slot)
    master.kill()
    await asyncio.to_thread(nodes.wait_replaced, master, slot)


async def master_hangs(nodes: RedisCluster, slot: int) -> None:
    """For longer than the nodes wait; then it still takes itself for the master for a moment."""
    master = await asyncio.to_thread(nodes.owner, slot)
    nodes.pause(master)
    try:
        await asyncio.to_thread(nodes.wait_replaced, master, slot)
    finally:
        nodes.go_on(master)


async def planned_failover(nodes: RedisCluster, slot: int) -> None:
    master = await asyncio.to_thread(nodes.owner, slot)
    await asyncio.to_thread(nodes.fail_over, master)
    await asyncio.to_thread(nodes.wait_replaced, master, slot)


async def slots_moved(nodes: RedisCluster, slot: int) -> None:
    """To each of the other masters, and back."""
    first, *others = await asyncio.to_thread(masters_from, nodes, slot)
    for target in (*others, first):
        await asyncio.to_thread(nodes.move_slot, slot, target)


def masters_from(nodes: RedisCluster, slot: int) -> list[Any]:
    owner, masters = nodes.owner(slot), nodes.masters()
    return [owner, *(node for node in masters if node is not owner)]


LOSSLESS = (planned_failover, slots_moved)


def silent_gaps(client: SdkClient, channel: str) -> list[tuple[int, int]]:
    """The offsets before and after each gap of which the client was not told."""
    gaps, position = [], 0
    for event in client.seen.events:
        if event.get("channel") != channel:
            continue
        if event["event"] == "subscribed" and not event.get("recovered"):
            position = 0
        elif event["event"] == "publication":
            offset = int(event["offset"])
            if position and offset != position + 1:
                gaps.append((position, offset))
            position = offset
    return gaps


@pytest.mark.parametrize("way", [master_killed, master_hangs, *LOSSLESS])
async def test_nobody_misses_anything_without_being_told(
    pair: OnNodes,
    fresh: Fresh,
    both: Callable[..., list[SdkClient]],
    way: Callable[[RedisCluster, int], Awaitable[None]],
) -> None:
    await asyncio.to_thread(pair.nodes.start)
    await well(pair)
    channel = fresh("open")
    load = Followed(pair, channel)
    clients = [client for instance in pair.instances for client in both(instance.url, lambda _: token("sdk"))]
    for client in clients:
        await client.connect()
        await client.subscribe(channel)
        await client.seen.event("subscribed", channel)
    async with load.running():
        await load.more()
        slot = await asyncio.to_thread(load.slot)
        await way(pair.nodes.cluster, slot)
        await load.more()
    await asyncio.to_thread(wait_for, pair.nodes.cluster.whole, "all slots are served", WITHIN)
    lost = await load.lost()
    epochs = {epoch for epoch, _ in load.answered.values()}
    print(f"{way.__name__}: {len(lost)} of {len(load.answered)} answered publications lost, {len(epochs)} epochs")
    last = load.answered[max(load.answered)][0]
    top = max(offset for epoch, offset in load.answered.values() if epoch == last)
    for client in clients:
        await eventually(lambda c=client: top in c.seen.offsets(channel)[-1:], "it has the last one", WITHIN)
        assert silent_gaps(client, channel) == []
    if way in LOSSLESS or len(epochs) == 1:
        assert lost == [] and len(epochs) == 1
        for client in clients:
            assert client.seen.offsets(channel) == list(range(1, top + 1))
        return
    assert {load.answered[n][0] for n in lost} <= epochs - {last}
    for client in clients:
        await client.seen.event("subscribed", channel, was_recovering=True, recovered=False)
