"""A Redis Cluster where tests expect one Redis: `FLOTILLA_TEST_ENGINE=cluster` (`make test-cluster`).

What is done to the Redis is done to all of its nodes together: they are killed, hang, restart with what they have, and
come back older or empty. So no replica takes over, and what a test says of a Redis is true of it. What one node alone
may do is tested by those who make a `RedisCluster` themselves.
"""

import shutil
import signal
from pathlib import Path
from typing import Any

from tests.cluster.support.processes import Redis
from tests.store.redis_cluster import Node, RedisCluster

MASTERS, REPLICAS = 3, 1
OWN = ("conf", "nodes.conf", "log")  # of a node's folder: what is not data


class RedisNodes(Redis):
    """Masters and replicas, always on the same ports; each write is on disk before it is answered, unless `fsync` says
    otherwise."""

    def __init__(self, home: Path, fsync: str = "always", **options: str) -> None:
        super().__init__(home, fsync)
        kept = {"appendonly": "yes", "appendfsync": fsync, **options}
        self.cluster = RedisCluster(self._data, MASTERS, REPLICAS, options=kept, at_once=False)
        self.url = self.cluster.url
        self.port = self.nodes[0].port  # of one of them

    @property
    def nodes(self) -> list[Node]:
        """All of them."""
        return self.cluster.nodes

    @property
    def running(self) -> bool:
        """Whether any node was started and has not ended."""
        return any(node.running for node in self.nodes)

    def start(self) -> None:
        """Start with what the directories hold, and wait until all slots are served."""
        try:
            self.cluster.start()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def answers(self) -> bool:
        """Whether it serves."""
        return self.cluster.whole()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all that run."""
        for node in self.nodes:
            if node.running:
                node.send(number)

    def kill(self) -> None:
        """End all as a crash would, and wait until they are gone."""
        self.cluster.kill()

    def stop(self) -> None:
        """End all in order, or else by force."""
        self.send(signal.SIGCONT)
        self.cluster.stop()

    def client(self, **options: Any) -> Any:
        """A client beside everything that is tested; it finds the node of each key."""
        return self.cluster.client(**options)

    def configure(self, option: str, value: object) -> None:
        """Change the configuration of all nodes."""
        for node in self.nodes:
            node.ask("CONFIG", "SET", option, value)

    def drop_subscribers(self) -> None:
        """End every connection that is subscribed to something."""
        for node in self.nodes:
            node.ask("CLIENT", "KILL", "TYPE", "pubsub")

    def snapshot_of(self, node: Node) -> Path:
        """Keep what one node holds now."""
        self._snapshots += 1
        return Path(shutil.copytree(node.folder, self.home / f"snapshot-{self._snapshots}"))

    def bring_back(self, node: Node, snapshot: Path | None) -> None:
        """Crash one, which is then started with an older state, or none; what it knows of the cluster stays."""
        node.kill()
        for entry in node.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name not in OWN:
                entry.unlink()
        if snapshot is not None:
            shutil.copytree(snapshot, node.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*OWN))

    def restore(self, snapshot: Path | None) -> None:
        """Crash, and come back with an older state, or with none; who has which slot stays as it is."""
        self.kill()
        for node in self.nodes:
            self.bring_back(node, None if snapshot is None else snapshot / node.folder.name)
        self.start()

    def tail(self, size: int = 1000) -> str:
        """The ends of all logs."""
        found = []
        for node in self.nodes:
            log = node.folder / "log"
            text = log.read_text(errors="replace") if log.exists() else ""
            found.append(f"----- {node.folder.name} at {node.at} -----\n{text[-size:]}")
        return "\n".join(found)
