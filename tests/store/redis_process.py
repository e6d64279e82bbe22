"""A private redis-server on a Unix socket that tests may kill, start again and pause; and waiting on conditions."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from tests import waiting

DEADLINE = 10.0


class RedisProcess:
    """One redis-server; `url` stays the same over restarts."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="flotilla-"))
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, *options: str, wait: bool = True) -> None:
        """Start it, and wait until it answers unless that is not wanted."""
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "no", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if wait:
            waiting.wait_until(self.answers, "redis-server answers", DEADLINE, every=0.005)

    def answers(self) -> bool:
        """Whether it serves: it was started, and has loaded what it had."""
        try:
            return bool(self.ask("PING"))
        except redis.ConnectionError:
            return False

    def ask(self, *command: Any) -> Any:
        """Run one command beside everything that is tested."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        """End it without any clean-up; what it knew is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def saved(self) -> bytes:
        """What it holds now, as a snapshot."""
        self.ask("SAVE")
        return (self.folder / "dump.rdb").read_bytes()

    def restart(self, snapshot: bytes | None) -> None:
        """End it without any clean-up and start it with a snapshot, or with nothing."""
        self.kill()
        if snapshot is None:
            (self.folder / "dump.rdb").unlink(missing_ok=True)
        else:
            (self.folder / "dump.rdb").write_bytes(snapshot)
        self.start()

    def close(self) -> None:
        """End it and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


async def until(condition: Callable[[], Any], within: float = DEADLINE, what: str = "") -> Any:
    """Wait until `condition` (a function or coroutine function) says something true; returns that."""
    return await waiting.until(condition, what or repr(condition), within, every=0.005)
