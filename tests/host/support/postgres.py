"""A PostgreSQL of the tests' own, where its programs are on the machine; it refuses to run as root."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.cluster.support.processes import Process, free_port, wait_until

DEBIAN = "/usr/lib/postgresql/*/bin"  # beside the PATH
_OPTIONS = ("-c", "fsync=off", "-c", "unix_socket_directories=")


def programs() -> Path | None:
    """The folder with `initdb` and `postgres`, or None."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return max(Path("/").glob(f"{DEBIAN[1:]}"), default=None)


@contextmanager
def a_postgres(home: Path) -> "Iterator[Postgres]":
    """A server while the block runs. Skips the test where the machine has none."""
    folder = programs()
    if folder is None:
        pytest.skip("there is no PostgreSQL on this machine")
    server = Postgres(home, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Postgres(Process):
    """A server with an empty database `bazaar`, for a user of that name. `options`: its settings, "name=value"."""

    listens_at = "127.0.0.1"

    def __init__(self, home: Path, folder: Path, *options: str) -> None:
        super().__init__("postgres", home)
        self._options = [word for option in options for word in ("-c", option)]
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._data = Path(tempfile.mkdtemp(prefix="flotilla-postgres-"))  # the test's own folder is closed to others
        self._user = _unprivileged()

    @property
    def url(self) -> str:
        """As `DATABASE_URL` has it."""
        return f"postgres://bazaar@{self.address}/bazaar"

    def execute(self, statement: str) -> None:
        """Run a statement."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def start(self) -> None:
        """Make its files, and start it."""
        self._make()
        with self.log.open("ab") as output:
            words = ["-D", str(self._data), "-p", str(self.port), "-c", f"listen_addresses={self.listens_at}"]
            self._process = subprocess.Popen(
                [*self.within, str(self._folder / "postgres"), *words, *_OPTIONS, *self._options],
                stdout=output,
                stderr=output,
                cwd=self._data,
                user=None if self.within else self._user,
            )
        wait_until(lambda: not self.running or self._answers(), "PostgreSQL answers")
        assert self.running, self.tail()

    def _make(self) -> None:
        if self._user is not None:
            shutil.chown(self._data, self._user)
        make = [str(self._folder / "initdb"), "--username=bazaar", "--auth=trust", "--no-sync", "--encoding=UTF8"]
        self._run(*make, "--locale=C", str(self._data))
        single = [str(self._folder / "postgres"), "--single", "-D", str(self._data), "postgres"]
        self._run(*single, given="CREATE DATABASE bazaar\n")

    def stop(self) -> None:
        """End it, whoever is connected, and remove its files."""
        self.send(signal.SIGINT)
        super().stop()
        shutil.rmtree(self._data, ignore_errors=True)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0 and "ready to accept" in self.log.read_text()

    def _run(self, *words: str, given: str | None = None) -> None:
        done = subprocess.run(
            words, input=given, cwd=self._data, user=self._user, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"


def _unprivileged() -> str | None:
    """Who runs it, when we are root."""
    if os.geteuid() != 0:
        return None
    return next(entry.pw_name for entry in pwd.getpwall() if entry.pw_name in ("postgres", "nobody"))
