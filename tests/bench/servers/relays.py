"""What brings rows of PostgreSQL to Redis: the platform's relay, and a polled table (`tests/bench/relays`).

The database and Redis are helpers beside the load; PostgreSQL waits for its disk at each commit, as it does by default.
"""

import contextlib
import json
import subprocess
import sys
from typing import Any, ClassVar

import psutil

from tests.bench.machine import Meter
from tests.bench.servers.base import Publishing, resp
from tests.bench.servers.flotilla import NAMESPACES, Flotilla
from tests.cluster.support.processes import Process, wait_until
from tests.host.support.postgres import Postgres, programs

_ENVIRONMENT = {"DJANGO_SETTINGS_MODULE": "tests.cluster.support.cardapp.settings", "INSTANCE_ID": "bench-relay"}


class OutboxRelay(Flotilla):
    """`manage.py relay`, and no instance."""

    name = "relay"
    title = "Flotilla's relay"
    table: ClassVar[str] = "outbox"
    options: ClassVar[dict[str, Any]] = {"namespaces": {**NAMESPACES, "cards": NAMESPACES["bench"]}}

    @classmethod
    def missing(cls) -> str | None:
        return super().missing() or (None if programs() else "no PostgreSQL on this machine")

    def start_processes(self) -> None:
        self.configure(_ENVIRONMENT | self.database())
        self.spawn([sys.executable, *self.words()], self.environment)

    def database(self) -> dict[str, str]:
        """Start the database; returns the variable that says where it is."""
        folder = programs()
        assert folder is not None
        self.postgres = Postgres(self.home, folder, "fsync=on")
        self.postgres.start()
        self.helpers.append(self.postgres)
        for process in (psutil.Process(self.postgres.pid), *psutil.Process(self.postgres.pid).children()):
            with contextlib.suppress(psutil.NoSuchProcess):  # it was there for a query of the start
                if self.cores.rest:
                    process.cpu_affinity(self.cores.rest)
        return {"DATABASE_URL": self.postgres.url}

    def words(self) -> list[str]:
        """What Python is to run."""
        return ["manage.py", "relay"]

    def start(self) -> None:
        """Start it; it listens nowhere."""
        self.redis.start()
        self.start_processes()

    def outside(self) -> Publishing:
        return Publishing(self.redis.port, resp("PING"))  # nothing is published through the load client

    @property
    def databases(self) -> Meter:
        """What its database and its Redis use."""
        return Meter([self.postgres.pid, self.redis.pid])

    def ear(self, count: int) -> Process:
        """Somebody who hears the messages; listens when this returns."""
        ear = self.help("ear", [sys.executable, "-m", "tests.bench.relays.ear", str(self.redis.port), str(count)])
        wait_until(lambda: not ear.running or said(ear), "the ear listens")
        return ear

    def fill(self, rows: int, rate: float) -> None:
        """Write rows; returns when all are committed."""
        self._run("fill", self.table, str(rows), str(rate))

    def saves(self, count: int) -> dict[str, Any]:
        """Save rows with and without a live model, and return the figures."""
        found: dict[str, Any] = json.loads(self._run("saves", str(count)))
        return found

    def _run(self, name: str, *words: str) -> str:
        command = [*self.cores.for_rest(), sys.executable, "-m", f"tests.bench.relays.{name}", *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


class PolledTable(OutboxRelay):
    """The oldest rows, published and deleted, then a pause."""

    name = "polled-table"
    title = "a polled table"
    table = "polled"

    def words(self) -> list[str]:
        from tests.bench.relays.polled import TABLE

        self.postgres.execute(TABLE)
        return ["-m", "tests.bench.relays.polled"]


class PolledTableNotified(PolledTable):
    """The same, which PostgreSQL wakes."""

    name = "polled-table-notified"
    title = "a polled table, notified"

    def words(self) -> list[str]:
        return [*super().words(), "notified"]


class SaveOnPostgresql(OutboxRelay):
    """Rows are saved while the relay runs."""

    name = "save-postgresql"
    title = "PostgreSQL"


class SaveOnSqlite(OutboxRelay):
    """The same, in a file."""

    name = "save-sqlite"
    title = "SQLite, with its log ahead"

    def database(self) -> dict[str, str]:
        return {}


def said(process: Process) -> list[dict[str, Any]]:
    """The JSON lines that a process has said."""
    return [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
