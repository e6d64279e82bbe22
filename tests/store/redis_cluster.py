"""A real Redis Cluster: masters and replicas on free ports, which tests kill, fail over, and move slots between.

It begins as it would stand after hours: each node finds its `nodes.conf`, so nobody has to be introduced, and the only
wait is for the two seconds in which a master that has just started takes no commands. `FLOTILLA_TEST_REDIS_SERVER`
names another server to run: Redis 6.2 to 8, or Valkey.
"""

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from flotilla.store.address import SLOTS
from tests.store.redis_fleet import DEADLINE, Certificates, Server, free_port, wait_for

BUS = 10_000  # how far above its port each node's port for the other nodes is
NODE_TIMEOUT = 2000  # ms until a node that is silent counts as failed
PROGRAM = os.environ.get("FLOTILLA_TEST_REDIS_SERVER") or "redis-server"


def free_ports(host: str, count: int) -> list[int]:
    """Ports that nobody listens on, nor on those of their buses."""
    found: list[int] = []
    while len(found) < count:
        port = free_port(host)
        with suppress(OSError), socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as bus:
            bus.bind((host, port + BUS))
            if port not in found:
                found.append(port)
    return found


@dataclass
class Node(Server):
    """One server of a cluster. `id`: its name there."""

    id: str = field(default_factory=lambda: secrets.token_hex(20))

    def stop(self) -> None:
        """End it in order."""
        if self.running:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            assert self._process is not None
            try:
                self._process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.kill()


class RedisCluster:
    """`masters` with even shares of the slots, and so many `replicas` of each. `options`: of every configuration."""

    def __init__(
        self,
        folder: Path,
        masters: int = 3,
        replicas: int = 0,
        *,
        host: str = "127.0.0.1",
        tls: Certificates | None = None,
        password: str = "",
        options: dict[str, str] | None = None,
        program: str = PROGRAM,
        at_once: bool = True,
    ) -> None:
        """`at_once`: it is started when it is made."""
        self.password, self.tls, self._host, self._program = password, tls, host, program
        self._options = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(NODE_TIMEOUT),
            "cluster-replica-validity-factor": "0",  # a replica takes over however long it was cut off
            **(options or {}),
        }
        if password:
            self._options |= {"requirepass": password, "masterauth": password}
        if tls is not None:
            self._options |= {"tls-cluster": "yes", "tls-replication": "yes"}
        self.nodes: list[Node] = []
        try:
            for number, port in enumerate(free_ports(host, masters * (1 + replicas))):
                self.nodes.append(self._made(folder / f"node-{number}", port))
            self._introduce(masters)
            if at_once:
                self.start()
        except BaseException:
            self.close()
            raise

    def _made(self, folder: Path, port: int) -> Node:
        return Node(
            folder,
            self._host,
            self._options,
            tls=self.tls,
            password=self.password,
            port=port,
            program=self._program,
            at_once=False,
        )

    def _introduce(self, masters: int) -> None:
        """Let each node know all of them: the first are the masters, with a share of the slots each."""
        bounds = [SLOTS * number // masters for number in range(masters + 1)]
        lines = []
        for number, node in enumerate(self.nodes):
            share, role = number % masters, "master -"
            slots = f" {bounds[share]}-{bounds[share + 1] - 1}"
            if number >= masters:
                role, slots = f"slave {self.nodes[share].id}", ""
            lines.append(f"{node.id} {node.host}:{node.port}@{node.port + BUS} {role} 0 0 {share + 1} connected{slots}")
        for number, node in enumerate(self.nodes):
            known = list(lines)
            for role in (" master ", " slave "):
                known[number] = known[number].replace(role, f" myself,{role.strip()} ", 1)
            known.append(f"vars currentEpoch {masters} lastVoteEpoch 0")
            (node.folder / "nodes.conf").write_text("\n".join(known) + "\n")

    def add(self, folder: Path) -> Node:
        """Start one more node, which is none of the cluster yet: see `meet`."""
        (port,) = free_ports(self._host, 1)
        node = self._made(folder, port)
        self.nodes.append(node)
        node.start()
        node.id = str(node.ask("CLUSTER", "MYID").decode())
        return node

    def meet(self, node: Server) -> None:
        """Make it one of the cluster."""
        self.nodes[0].ask("CLUSTER", "MEET", self._host, node.port)

    @property
    def url(self) -> str:
        """The address of the cluster."""
        login = f":{self.password}@" if self.password else ""
        options = f"?tls=1&{self.tls.query}" if self.tls is not None else ""
        return f"redis+cluster://{login}{','.join(node.at for node in self.nodes)}{options}"

    def client(self, **options: Any) -> Any:
        """A client beside everything that is tested, which finds the master of each key by itself."""
        some = self.living()[0]
        return redis.RedisCluster(host=some.host, port=some.port, password=self.password or None, **options)

    # ---- what it knows

    def living(self, but: Server | None = None) -> list[Node]:
        """The nodes that answer; `but`: one that is not asked, because it hangs."""
        found = []
        for node in self.nodes:
            with suppress(redis.RedisError, OSError):
                if node is not but and node.running and node.ask("PING"):
                    found.append(node)
        return found

    def knows(self, node: Server) -> int:
        """How many nodes one knows, itself included."""
        return len(lines_of(node))

    def whole(self) -> bool:
        """Whether all that live see a cluster that works and know the same masters, and replicas are in step."""
        living = self.living()
        seen = [told(node) for node in living]
        masters = [node for node in living if node.is_master()]
        well = all(one["cluster_state"] == "ok" and one["cluster_slots_ok"] == str(SLOTS) for one in seen)
        linked = all(b"link_status:up" in node.ask("INFO", "replication") for node in living if node not in masters)
        return bool(living) and well and linked and len({str(owners(node)) for node in living}) == 1

    def complete(self) -> bool:
        """Whether it is `whole`, all nodes live, and nobody believes one to have failed."""
        lines = [line for node in self.nodes if node.running for line in lines_of(node)]
        known = len(lines) == len(self.nodes) ** 2
        return known and not any("fail" in line[2] or "handshake" in line[2] for line in lines) and self.whole()

    def owner(self, slot: int, but: Server | None = None) -> Node:
        """The master that has a slot, as most of the others say. Raises redis-py's errors where none answers."""
        said = [owner for node in self.living(but) if (owner := _owner_at(node, slot))]
        if not said:
            raise redis.ConnectionError("no node answers")
        best = max(set(said), key=said.count)
        return next(node for node in self.nodes if node.port == best)

    def masters(self) -> list[Node]:
        """Those that have slots, by the first of them."""
        ports = [port for _, _, port in owners(self.living()[0])]
        return [next(node for node in self.nodes if node.port == port) for port in dict.fromkeys(ports)]

    def replica_of(self, master: Server) -> Node:
        """One of its replicas."""
        known = id_of(master)
        return next(one for one in self.living() if _line_of(one)[3] == known)

    def replaced(self, old: Server, slot: int) -> bool:
        """Whether all others that live know another master of a slot than `old`, and take commands."""
        others = self.living(but=old)
        known = {_owner_at(node, slot) for node in others}
        return known.isdisjoint({old.port, None}) and all(told(node)["cluster_state"] == "ok" for node in others)

    # ---- what is done to it

    def start(self) -> None:
        """Start what does not run, and wait until all of it is well."""
        for node in self.nodes:
            if node.running:
                node.send(signal.SIGCONT)
            else:
                node.start(wait=False)
        wait_for(self.complete, "a cluster that is complete", 2 * DEADLINE)

    def kill(self) -> None:
        """End all nodes at once, without any clean-up."""
        for node in self.nodes:
            node.kill()

    def stop(self) -> None:
        """End all nodes in order: the replicas first, so that none of them takes over."""
        for node in sorted(self.nodes, key=lambda node: node in self.living() and node.is_master()):
            node.stop()

    def wait_replaced(self, old: Server, slot: int) -> Node:
        """Wait until a replica has taken over a slot from `old`; gives the new master."""
        wait_for(lambda: self.replaced(old, slot), "a replica that took over", 2 * DEADLINE)
        return self.owner(slot, but=old)

    def fail_over(self, master: Server) -> Node:
        """A planned failover: a replica takes over in order, and is given back."""
        replica = self.replica_of(master)
        replica.ask("CLUSTER", "FAILOVER")
        wait_for(replica.is_master, "a replica that took over")
        return replica

    def move_slot(self, slot: int, target: Server, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """Move a slot with all its keys to another master; `meanwhile` is called when half of them have gone."""
        source = self.begin_move(slot, target)
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1_000_000)
        self.move_keys(source, target, keys[: len(keys) // 2])
        meanwhile()
        self.end_move(slot, source, target)

    def begin_move(self, slot: int, target: Server) -> Node:
        """Have both sides know that the slot is on its way; gives the one that has it."""
        source = self.owner(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", id_of(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", id_of(target))
        return source

    def move_keys(self, source: Server, target: Server, keys: list[bytes]) -> None:
        """Move some keys of a slot that is on its way."""
        login = ("AUTH", self.password) if self.password else ()
        if keys:
            source.ask("MIGRATE", target.host, target.port, "", 0, 5000, "REPLACE", *login, "KEYS", *keys)

    def end_move(self, slot: int, source: Server, target: Server) -> None:
        """Move the keys that are left; then the slot has moved: every master is told, those first that it concerns."""
        while True:
            while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
                self.move_keys(source, target, keys)
            target.ask("CLUSTER", "SETSLOT", slot, "NODE", id_of(target))
            try:
                source.ask("CLUSTER", "SETSLOT", slot, "NODE", id_of(target))
                break
            except redis.ResponseError:  # a key was written in between
                continue
        for node in self.living():
            if node not in (source, target) and node.is_master():
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", id_of(target))

    def pause(self, node: Server) -> None:
        """Let it hang."""
        node.send(signal.SIGSTOP)

    def go_on(self, node: Server) -> None:
        """The end of `pause`."""
        node.send(signal.SIGCONT)

    def close(self) -> None:
        """End all of them."""
        for node in self.nodes:
            node.kill()


def id_of(node: Server) -> str:
    """Its name in the cluster."""
    return node.id if isinstance(node, Node) else str(node.ask("CLUSTER", "MYID").decode())


def told(node: Server) -> dict[str, str]:
    """What it says of the cluster (CLUSTER INFO)."""
    answer = node.ask("CLUSTER", "INFO").decode()
    return dict(line.strip().split(":", 1) for line in answer.splitlines() if ":" in line)


def lines_of(node: Server) -> list[list[str]]:
    """What it knows of each node (CLUSTER NODES)."""
    return [line.split() for line in node.ask("CLUSTER", "NODES").decode().splitlines() if line]


def owners(node: Server) -> list[tuple[int, int, int]]:
    """Ranges of slots and the ports of their masters, as it knows them."""
    return sorted((int(first), int(last), int(holders[0][1])) for first, last, *holders in node.ask("CLUSTER", "SLOTS"))


def _line_of(node: Server) -> list[str]:
    return next(line for line in lines_of(node) if "myself" in line[2])


def _owner_at(node: Server, slot: int) -> int | None:
    return next((port for first, last, port in owners(node) if first <= slot <= last), None)


__all__ = ["DEADLINE", "RedisCluster", "id_of", "lines_of", "owners", "told"]
