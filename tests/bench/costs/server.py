"""The instance whose costs are measured: namespaces that differ in one thing each, users with tokens, and listeners."""

import selectors
import socket
import threading
import time
from typing import Any, ClassVar

import jwt

from tests.bench.jobs.base import Stage
from tests.bench.servers.base import as_json, resp
from tests.bench.servers.flotilla import NAMESPACES, SECRET, Flotilla

_OPEN = {name: value for name, value in NAMESPACES["bench"].items() if name.startswith("allow_")}
_HISTORY = {"history_ttl": "5m", "force_recovery": True}
CHECKED_EVERY = 4.0  # seconds
KEPT = 20
"""Publications of a channel's history in the runs that the model is checked against: soon full."""


class Measured(Flotilla):
    """One process with a namespace for each cost. Clients are visitors, or users by a token."""

    name = "measured"
    title = "Flotilla, one process"
    tokens: ClassVar[bool] = False
    beside_subscriptions: ClassVar[int] = 0
    options: ClassVar[dict[str, Any]] = {
        "namespaces": {
            **NAMESPACES,
            "plain": _OPEN,
            "present": {**_OPEN, "presence": True},
            "kept": {**_OPEN, **_HISTORY, "history_size": 100},
            "long": {**_OPEN, **_HISTORY, "history_size": 100_000},
            "whole": {**_OPEN, **_HISTORY, "history_size": KEPT, "presence": True},
        }
    }

    def _hello(self, words: dict[str, object]) -> str:
        texts = super()._hello(words).split("\n")
        if self.tokens:
            texts[0] = as_json({"id": 1, "connect": {"token": "%t"}})
        others = [
            as_json({"id": 10 + number, "subscribe": {"channel": f"{self.shape.namespace}:x{number}", **words}})
            for number in range(self.beside_subscriptions)
        ]
        return "\n".join([*texts, *others])


class OfUsers(Measured):
    """Each client is a user of its own."""

    name = "measured-users"
    tokens: ClassVar[bool] = True


class OfSubscribers(Measured):
    """Each client subscribes to eight more channels, which all have."""

    name = "measured-subscriptions"
    beside_subscriptions: ClassVar[int] = 8


class QuickChecks(Measured):
    """Compares quiet channels with their history every few seconds, so that there is something to weigh."""

    name = "measured-checks"
    options: ClassVar[dict[str, Any]] = {**Measured.options, "position_check_interval": CHECKED_EVERY}


def give_tokens(stage: Stage, count: int) -> None:
    """Let each client that connects be another user."""
    ends = int(time.time()) + 3600
    path = stage.server.home / "tokens"
    path.write_text("".join(f"{jwt.encode({'sub': f'user-{n}', 'exp': ends}, SECRET)}\n" for n in range(count)))
    assert stage.load.tell("tokens", {"path": path.as_posix().encode().hex()})["taken"]


class Listeners:
    """Connections that listen to a topic of Redis and read what comes, as so many more instances do."""

    def __init__(self, port: int, topic: bytes, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for one in self._sockets:
            one.sendall(resp("SUBSCRIBE", topic))
            one.recv(4096)
            self._selector.register(one, selectors.EVENT_READ)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Listeners":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for one in self._sockets:
            one.close()
        self._selector.close()

    def _read(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(0.2):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.recv(1 << 20)
