"""The engine in the process, where tests expect a redis-server: `make test-in-process` runs them on it.

It has no process of its own, so a test that kills, pauses or reconfigures Redis is skipped when it begins to.
"""

import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis

CHOSEN = os.environ.get("FLOTILLA_TEST_ENGINE") == "memory"
"""Whether tests that can do without a redis-server are to."""


class EngineProcess:
    """One engine; `url` is its address."""

    def __init__(self) -> None:
        from flotilla.store.in_process.listener import Engine  # which needs lupa

        self._engine = Engine()
        self.url = self._engine.url
        self.socket = Path(self.url.removeprefix("unix://"))
        self.folder = self.socket.parent

    def client(self) -> redis.Redis:
        """A client beside everything that is tested."""
        return redis.Redis(unix_socket_path=str(self.socket))

    def ask(self, *command: Any) -> Any:
        """Run one command beside everything that is tested."""
        if str(command[0]) in ("REPLICAOF", "SAVE", "BGSAVE", "ACL", "OBJECT", "MEMORY"):
            self._cannot(str(command[0]))
        if str(command[0]) == "CONFIG" and command[1] != "RESETSTAT":
            self._cannot("CONFIG")
        if command[:2] == ("CLIENT", "PAUSE"):
            self._cannot("CLIENT PAUSE")
        with self.client() as client:
            return client.execute_command(*command)

    def close(self) -> None:
        """End it."""
        self._engine.close()

    def __getattr__(self, name: str) -> Any:
        if name not in ("kill", "pause", "resume", "restart", "saved", "snapshot", "start", "process", "_process"):
            raise AttributeError(name)
        self._cannot(name)

    def _cannot(self, what: str) -> NoReturn:
        pytest.skip(f"the engine in the process has no {what}")
