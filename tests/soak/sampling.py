"""What is looked at: each process from outside and by its own probe, Redis, the database, the log.

A sample is a flat mapping: the name of a series → its value. Names are "where: what", as "unit-0: tasks".
"""

import asyncio
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from tests.chaos.inspection import UNHANDLED
from tests.soak.soakapp.probe import path_of
from tests.soak.world import World

MIB = 2**20
SERVED = re.compile(r"^(flotilla_connections|flotilla_subscriptions\S*|flotilla_users) (\S+)$", re.MULTILINE)
PAGE = 1000  # keys
ASKED_WITHIN = 5.0  # seconds

Sample = dict[str, float]


class Died(AssertionError):
    """A process is not the one that it was."""


class Sampler:
    """Takes samples of a world; `held` says how many connections the clients have."""

    def __init__(self, world: World, held: Callable[[], int]) -> None:
        self._world = world
        self._held = held
        self._processes = {"serve": psutil.Process(world.pid), "redis": psutil.Process(world.redis.pid)}
        self._processes |= {name: psutil.Process(pid) for name, pid in sorted(world.pids().items())}
        self._redis = redis.Redis(port=world.redis.port, socket_timeout=ASKED_WITHIN)
        self._logged = world.log.stat().st_size  # what the start has said
        self.faults: list[str] = []  # lines of the log that tell of an error which nobody handled

    @property
    def instances(self) -> list[str]:
        """Their names."""
        return [name for name in self._processes if name not in ("serve", "redis")]

    async def take(self) -> Sample:
        """One sample. Raises Died."""
        figures = await asyncio.to_thread(self._outside)
        served = await asyncio.gather(*(self._served(port) for port in self._world.metrics_ports))
        figures["clients: not held by any"] = sum(one["flotilla_connections"] for one in served) - self._held()
        figures["clients: connections"] = sum(one["flotilla_connections"] for one in served)
        figures["clients: subscriptions"] = sum(one["flotilla_subscriptions"] for one in served)
        return figures

    def types(self) -> dict[str, Counter[str]]:
        """Objects by type, by instance, as they were last counted."""
        return {name: Counter(self._probe(name)["types"]) for name in self.instances}

    def close(self) -> None:
        """Give the connections up."""
        self._redis.close()

    def _outside(self) -> Sample:
        if (now := self._world.pids()) != {name: self._processes[name].pid for name in self.instances}:
            raise Died(f"the instances are others now: {now}")
        figures: Sample = {}
        for name, process in self._processes.items():
            memory = process.memory_full_info()
            figures[f"{name}: memory"] = memory.uss / MIB
            figures[f"{name}: resident memory"] = memory.rss / MIB
            figures[f"{name}: open files"] = process.num_fds()
            figures[f"{name}: threads"] = process.num_threads()
        for name in self.instances:
            probe = self._probe(name)
            figures[f"{name}: tasks"] = probe["tasks"]
            figures[f"{name}: allocations"] = probe["blocks"]
            figures[f"{name}: objects of Python"] = probe["objects"] / MIB
            figures[f"{name}: room of Python"] = (probe["arenas"] - probe["objects"]) / MIB
            figures[f"{name}: heap"] = probe["heap"] / MIB
            figures[f"{name}: heap that is free"] = probe["kept"] / MIB
            figures[f"{name}: of SQLite"] = probe["sqlite"] / MIB
        return figures | self._of_redis() | self._of_database() | {"log: bytes a sample": self._read_log()}

    def _probe(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(path_of(self._world.home, name).read_text())
        return found

    def _read_log(self) -> int:
        """How many bytes have come since the last time."""
        with self._world.log.open("rb") as log:
            log.seek(self._logged)
            added = log.read()
        self._logged += len(added)
        self.faults += [line for line in added.decode(errors="replace").splitlines() if UNHANDLED.search(line)]
        return len(added)

    def _of_redis(self) -> Sample:
        info = self._redis.info()
        keys = info.get("db0", {"keys": 0, "expires": 0})
        figures: Sample = {
            "redis: data": info["used_memory"] / MIB,
            "redis: clients": info["connected_clients"],
            "redis: keys": keys["keys"],
            "redis: keys without an end": keys["keys"] - keys["expires"],
        }
        for kind, (count, size) in self._kinds().items():
            figures[f"keys: {kind}"] = count
            figures[f"bytes: {kind}"] = size
        return figures

    def _kinds(self) -> dict[str, tuple[int, int]]:
        """Keys and their bytes, by kind."""
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        names = list(self._redis.scan_iter(count=PAGE))
        for first in range(0, len(names), PAGE):
            part = names[first : first + PAGE]
            with self._redis.pipeline(transaction=False) as pipe:
                for name in part:
                    pipe.memory_usage(name)
                for name, size in zip(part, pipe.execute(), strict=True):
                    counts[kind_of(name)] += 1
                    sizes[kind_of(name)] += size or 0
        return {kind: (counts[kind], sizes[kind]) for kind in counts}

    def _of_database(self) -> Sample:
        url = self._world.env["DATABASE_URL"]
        if url.startswith("sqlite:"):
            with closing(sqlite3.connect(Path(url.removeprefix("sqlite:///")), timeout=20)) as connection:
                tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                return {f"rows: {name}": _rows(connection, name) for (name,) in tables if name != "sqlite_sequence"}
        with psycopg.connect(url) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            return {f"rows: {name}": _rows(connection, name) for (name,) in tables}

    async def _served(self, port: int) -> Counter[str]:
        """What an instance says that it holds."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(ASKED_WITHIN):
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                text = (await reader.read(-1)).decode()
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        found: Counter[str] = Counter()
        for name, value in SERVED.findall(text):
            found[name.partition("{")[0]] += float(value)  # type: ignore[assignment]
        return found


def _rows(connection: Any, table: str) -> int:
    return int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])


def kind_of(key: bytes) -> str:
    """The kind of a key: what stands behind the prefix; limits' keys are hashed and of one kind."""
    if key.startswith(b"{rl}"):
        return "limits" if not key.startswith(b"{rl}:") else "limits of the cluster"
    parts = key.decode(errors="replace").split(":")
    return parts[1] if len(parts) > 1 else "other"
