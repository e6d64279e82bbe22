"""Flotilla on several Redises: a list of shards, and a Redis Cluster of as many masters."""

import importlib.util
from typing import ClassVar

import redis

from tests.bench.servers.base import BenchRedis, Server
from tests.bench.servers.flotilla import Flotilla
from tests.cluster.support.processes import wait_until

SLOTS = 16_384


class ClusterRedis(BenchRedis):
    """A node of a cluster, with no slots yet."""

    options: ClassVar[tuple[str, ...]] = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")


class OnNodes(Flotilla):
    """One process; what it keeps is spread over `nodes` Redises by a list of them in REDIS_URL."""

    nodes: ClassVar[int] = 1
    kind: ClassVar[type[BenchRedis]] = BenchRedis

    def start(self) -> None:
        homes = [self.home / f"redis-{number}" for number in range(self.nodes)]
        for home in homes:
            home.mkdir()
        self.all_nodes = [self.kind(home, self.cores.for_rest()) for home in homes]
        self.redis = self.all_nodes[0]
        self.helpers = [*self.all_nodes]
        for node in self.all_nodes[1:]:
            node.start()
        super().start()

    @property
    def redis_url(self) -> str:
        """All of them."""
        return ",".join(node.url for node in self.all_nodes)

    def configure(self, more: dict[str, str]) -> None:
        super().configure({"REDIS_URL": self.redis_url, **more})


class OnCluster(OnNodes):
    """The same on a Redis Cluster of so many masters."""

    kind: ClassVar[type[BenchRedis]] = ClusterRedis

    @classmethod
    def missing(cls) -> str | None:
        there = importlib.util.find_spec("flotilla.store.cluster") is not None
        return super().missing() if there else "this version does not speak to clusters"

    @property
    def redis_url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.all_nodes)

    def configure(self, more: dict[str, str]) -> None:
        self._join()
        super().configure(more)

    def _join(self) -> None:
        clients = [redis.Redis(port=node.port, socket_timeout=10) for node in self.all_nodes]
        for number, client in enumerate(clients):
            first, after = (SLOTS * n // self.nodes for n in (number, number + 1))
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.all_nodes[0].port)
        for client in clients:
            wait_until(lambda c=client: self._whole(c), "the cluster has all its slots")

    def _whole(self, client: "redis.Redis") -> bool:
        said = client.execute_command("CLUSTER", "INFO")
        words = said if isinstance(said, dict) else dict(line.split(":") for line in said.decode().split())
        return words["cluster_state"] == "ok" and int(words["cluster_known_nodes"]) == self.nodes


def _on(kind: type[OnNodes], name: str, what: str, count: int) -> type[Server]:
    plural = "" if count == 1 else "s" if what == "master" else "es"
    return type(
        f"{kind.__name__}{count}",
        (kind,),
        {"name": f"{name}-{count}", "title": f"Flotilla, {count} {what}{plural}", "nodes": count},
    )


SHARDED = tuple(_on(OnNodes, "flotilla-redis", "Redis", count) for count in (1, 2, 3))
CLUSTERED = tuple(_on(OnCluster, "flotilla-cluster", "master", count) for count in (1, 2, 3))
