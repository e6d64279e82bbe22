"""A Redis Cluster where tests expect one redis-server: `make test-engine ENGINE=cluster` runs them on it.

It has three masters and no replicas. A test that kills, pauses or reconfigures the one Redis is skipped when it begins
to: what a cluster does then is tested in `tests/store` and `tests/cluster`.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis

from flotilla.store.slots import key_slot
from tests.store.redis_cluster import RedisCluster, owners
from tests.store.redis_fleet import Server

CHOSEN = os.environ.get("FLOTILLA_TEST_ENGINE") == "cluster"
"""Whether tests that can do without a redis-server of one process are to."""

_EVERYWHERE = {"FLUSHALL": b"OK", "SCRIPT": b"OK", "CONFIG": b"OK"}  # commands to all nodes, and what they say
_ADDED = {"PUBSUB", "KEYS", "CLIENT", "DBSIZE"}  # commands to all nodes, whose answers are added
_NAMED = {"MEMORY", "OBJECT"}  # commands whose key is behind the name of what they do
_COUNTED = {"stats", "commandstats", "errorstats"}  # sections of INFO whose figures are added
_HARMS = {"REPLICAOF", "SAVE", "BGSAVE", "ACL", "DEBUG", "SHUTDOWN"}


class ClusterProcess:
    """One cluster; `url` is its address."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="flotilla-"))
        self.cluster = RedisCluster(self.folder)
        self.url = self.cluster.url
        self._owners = owners(self.cluster.nodes[0])  # they stay
        self._clients = {node.port: redis.Redis(host=node.host, port=node.port) for node in self.cluster.nodes}

    def ask(self, *command: Any) -> Any:
        """Run one command beside everything that is tested, on the node that has the key, or on all."""
        name = str(command[0]).upper()
        if name in _HARMS or command[:2] == ("CLIENT", "PAUSE"):
            self._cannot(" ".join(map(str, command[:2])))
        if name == "CONFIG" and command[1] != "RESETSTAT":
            self._cannot("CONFIG")
        if name in _EVERYWHERE:
            for node in self.cluster.nodes:
                self._ask(node, *command)
            return _EVERYWHERE[name]
        if name in _ADDED:
            return self._added(command)
        if name in ("EVAL", "EVALSHA"):
            return self._ask(self._node(str(command[3])), *command)
        if name == "INFO" and set(map(str, command[1:])) & _COUNTED:
            return _sum([self._ask(node, *command) for node in self.cluster.nodes])
        if len(command) < 2 or name in ("INFO", "PING"):
            return self._ask(self.cluster.nodes[0], *command)
        key = command[2 if name in _NAMED else 1]
        return self._ask(self._node(key.decode() if isinstance(key, bytes) else str(key)), *command)

    def _added(self, command: tuple[Any, ...]) -> Any:
        answers = [self._ask(node, *command) for node in self.cluster.nodes]
        if command[:2] == ("PUBSUB", "CHANNELS"):
            sharded = ("PUBSUB", "SHARDCHANNELS", *command[2:])
            answers += [self._ask(node, *sharded) for node in self.cluster.nodes]
        if command[:2] == ("PUBSUB", "NUMSUB"):
            sharded = ("PUBSUB", "SHARDNUMSUB", *command[2:])
            answers += [self._ask(node, *sharded) for node in self.cluster.nodes]
            return [
                part
                for topic, *counts in zip(answers[0][::2], *(one[1::2] for one in answers), strict=True)
                for part in (topic, sum(counts))
            ]
        return b"".join(answers) if isinstance(answers[0], bytes) else sum(answers[1:], answers[0])

    def _ask(self, node: Server, *command: Any) -> Any:
        """As `RedisProcess.ask`: answers have the shapes that redis-py gives them."""
        return self._clients[node.port].execute_command(*command)

    def _node(self, key: str) -> Server:
        port = next(port for first, last, port in self._owners if first <= key_slot(key) <= last)
        return next(node for node in self.cluster.nodes if node.port == port)

    @property
    def clients(self) -> list["redis.Redis"]:
        """A client of each node."""
        return list(self._clients.values())

    def client(self) -> "redis.RedisCluster":
        """A client beside everything that is tested."""
        return redis.RedisCluster.from_url(f"redis://{self.cluster.nodes[0].at}", protocol=2)

    def close(self) -> None:
        """End it."""
        for client in self._clients.values():
            client.close()
        self.cluster.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __getattr__(self, name: str) -> Any:
        if name not in (
            "kill",
            "pause",
            "resume",
            "restart",
            "saved",
            "snapshot",
            "start",
            "process",
            "_process",
            "socket",
        ):
            raise AttributeError(name)
        self._cannot(name)

    def _cannot(self, what: str) -> NoReturn:
        pytest.skip(f"no one Redis of a cluster is to have {what} here")


def _sum(told: list[Any]) -> Any:
    """What several nodes say, their numbers added."""
    if isinstance(told[0], dict):
        names = dict.fromkeys(name for one in told for name in one)
        return {name: _sum([one[name] for one in told if name in one]) for name in names}
    return sum(told) if all(isinstance(one, int | float) for one in told) else told[0]
