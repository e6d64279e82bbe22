"""Child processes with logs, waiting for conditions, and the tests' own Redis.

Every process writes to a file of its own in the test's directory. Whatever was started is ended by `stop`, however it
stands. Nothing here waits for a time: only for conditions, with a deadline.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from tests import waiting

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = waiting.PATIENCE
READY_WITHIN = 180.0  # seconds a process may take to start there
STOP_WITHIN = 25.0
ON_A_CLUSTER = os.environ.get("FLOTILLA_TEST_ENGINE") == "cluster"  # which is in the place of every Redis then
eventually = waiting.until


def wait_until(condition: Callable[[], Any], what: str, within: float = READY_WITHIN) -> Any:
    """`eventually` for code without an event loop."""
    return waiting.wait_until(condition, what, within)


def free_port() -> int:
    """A port nobody listens on, below those the system gives to outgoing connections, so that it stays free."""
    while True:
        port = random.SystemRandom().randint(12_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Process:
    """A child process with a log. `start` may be called again after it ended; the log goes on."""

    within: tuple[str, ...] = ()  # what stands before its command, where it runs on a host of its own
    host = "127.0.0.1"  # where it is reached

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.log = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; the process must have been started."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def spawn(self, command: list[str], environment: dict[str, str] | None = None, folder: Path = ROOT) -> None:
        """Start it in a folder."""
        command = [*self.within, *command]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is anybody to send it to."""
        if self.running:
            assert self._process is not None
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL), and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.wait()

    def wait(self, within: float = STOP_WITHIN) -> int:
        """Wait for its end and return its exit code."""
        assert self._process is not None
        return self._process.wait(within)

    def stop(self) -> None:
        """End it in order, or else by force; called at the end whatever its state."""
        if not self.running:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {STOP_WITHIN} s:\n{self.tail()}") from None

    def tail(self, size: int = 3000) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"----- {self.name} -----\n{text[-size:]}"


def a_redis(home: Path, fsync: str = "always") -> "Redis":
    """A Redis of the test's own, or a Redis Cluster in its place (`make test-cluster`)."""
    if not ON_A_CLUSTER:
        return Redis(home, fsync)
    from tests.cluster.support.redis_nodes import RedisNodes  # which is a Redis, too

    return RedisNodes(home, fsync)


class Redis(Process):
    """A Redis of the test's own, always on the same port; each write is on disk before it is answered, unless `fsync`
    says otherwise ("everysec", as the embedded one)."""

    def __init__(self, home: Path, fsync: str = "always") -> None:
        super().__init__("redis", home)
        self._fsync = fsync
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._data = home / "redis"
        self._snapshots = 0

    def start(self) -> None:
        """Start with what its directory holds."""
        self._data.mkdir(exist_ok=True)
        options = {"port": self.port, "bind": self.host, "dir": self._data, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": self._fsync}
        self.spawn(["redis-server", *(str(word) for name, value in options.items() for word in (f"--{name}", value))])
        wait_until(lambda: not self.running or self.answers(), "redis answers")
        if not self.running:
            raise AssertionError(self.tail())

    def answers(self) -> bool:
        """Whether it serves."""
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64) == b"+PONG\r\n"
        except OSError:
            return False

    def client(self, **options: Any) -> Any:
        """A client beside everything that is tested."""
        return redis.Redis.from_url(self.url, **options)

    def configure(self, option: str, value: object) -> None:
        """Change its configuration while it runs."""
        with self.client() as client:
            client.config_set(option, value)

    def drop_subscribers(self) -> None:
        """End every connection that is subscribed to something."""
        with self.client() as client:
            client.client_kill_filter(_type="pubsub")

    def snapshot(self) -> Path:
        """Keep what it holds now, to come back to it with `restore`."""
        self._snapshots += 1
        return Path(shutil.copytree(self._data, self.home / f"snapshot-{self._snapshots}"))

    def restore(self, snapshot: Path | None) -> None:
        """Crash, and come back with an older state, or with none."""
        self.kill()
        shutil.rmtree(self._data)
        if snapshot is not None:
            shutil.copytree(snapshot, self._data)
        self.start()
