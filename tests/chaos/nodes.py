"""A Redis Cluster under faults: masters with a replica each, and for each instance a link to every node.

Each node says that it does not know its own address (`unknown-endpoint`), so an instance takes the one at which it has
asked, which is its own: 127.0.0.2, 127.0.0.3, … There its links listen, under the ports of the nodes.
"""

import asyncio
from pathlib import Path
from signal import SIGCONT, Signals

import redis

from flotilla.store.slots import slot_of
from tests.chaos.links import Link
from tests.cluster.support.redis_nodes import MASTERS, RedisNodes
from tests.store.redis_cluster import Node
from tests.store.redis_fleet import wait_for

SHARDS = 12  # as the address has it
OPTIONS = {"cluster-preferred-endpoint-type": "unknown-endpoint", "lua-time-limit": "200"}
WELL_WITHIN = 40.0  # seconds


class Nodes(RedisNodes):
    """All of them. `shares`: what faults of a master hit."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, **OPTIONS)
        self.shares = [Share(self, number) for number in range(MASTERS)]

    async def links(self, instance: int) -> list[Link]:
        """An instance's links, in the order of the nodes."""
        links = [Link(node.port, f"127.0.0.{2 + instance}", node.port) for node in self.nodes]
        for link in links:
            await link.start()
        return links

    @staticmethod
    def address(links: list[Link]) -> str:
        """Where an instance finds the cluster, over its links."""
        return f"redis+cluster://{','.join(f'{link.host}:{link.port}' for link in links)}"

    def make_whole(self) -> None:
        """Start what a fault has killed; it follows whoever took over."""
        self.cluster.start()


class Share:
    """A share of a cluster's slots, and the master that has them: whom a fault hits stays the same until its end."""

    def __init__(self, nodes: Nodes, number: int) -> None:
        self._nodes = nodes
        self.name = f"share-{number}"
        self.slots = [slot_of(shard, SHARDS) for shard in range(SHARDS) if shard * MASTERS // SHARDS == number]
        self._hit: Node | None = None

    def take(self) -> Node:
        """The master now, until the end of a fault."""
        self._hit = self._nodes.cluster.owner(self.slots[0])
        return self._hit

    @property
    def hit(self) -> Node:
        """Whom the fault has hit."""
        assert self._hit is not None
        return self._hit

    @property
    def number(self) -> int:
        """The number of the node that has the slots, which is that of its link."""
        return self._nodes.nodes.index(self.take())

    def kill(self) -> None:
        """Kill the master."""
        self.take().kill()

    def stop(self) -> None:
        """End the master in order."""
        self.take().stop()

    def start(self) -> None:
        """Start it again, and wait until all slots are served."""
        self.hit.start()
        self._wait_served()

    def send(self, number: Signals) -> None:
        """Send the master a signal, or the one that was sent a signal before that it goes on."""
        (self.hit if number == SIGCONT else self.take()).send(number)

    def command(self, *words: str, within: float = 10.0) -> bytes:
        """Send a command past all links: to the master, or to the one that a fault has hit."""
        node = self.hit if words[:2] == ("SCRIPT", "KILL") else self.take()
        with redis.Redis(port=node.port, socket_timeout=within) as client:
            answer = client.execute_command(*words)
        return answer if isinstance(answer, bytes) else b""

    def snapshot(self) -> Path:
        """Keep what the master holds."""
        return self._nodes.snapshot_of(self.take())

    def restore(self, snapshot: Path | None) -> None:
        """Crash, and come back with an older state, or with none."""
        if snapshot is None:
            self.take()
        self._nodes.bring_back(self.hit, snapshot)
        self.hit.start()
        self._wait_served()

    def replaced(self) -> Node:
        """Wait until a replica has taken over; returns it."""
        return self._nodes.cluster.wait_replaced(self.hit, self.slots[0])

    def _wait_served(self) -> None:
        wait_for(self._nodes.cluster.whole, "all slots are served", WELL_WITHIN)


async def moved(share: Share, nodes: Nodes, slots: int) -> None:
    """Move some of a share's slots with their keys to the next master, as `redis-cli --cluster reshard` does."""
    cluster = nodes.cluster
    for slot in share.slots[:slots]:
        source = await asyncio.to_thread(cluster.owner, slot)
        masters = await asyncio.to_thread(cluster.masters)
        target = masters[(masters.index(source) + 1) % len(masters)]
        await asyncio.to_thread(cluster.move_slot, slot, target)
