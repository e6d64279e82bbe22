"""What every server of the bench offers: how to start it, how clients join, how publications get in."""

import contextlib
import json
import shutil
import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from tests.bench.machine import Cores
from tests.cluster.support.processes import ROOT, Process, Redis, free_port, wait_until


class BenchRedis(Redis):
    """Redis as a cache of messages: nothing is written to disk, for anybody."""

    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, home: Path, before: list[str]) -> None:
        super().__init__(home)
        self._before = before

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.home), "--save", ""]
        self.spawn([*self._before, "redis-server", *options, "--appendonly", "no", *self.options])
        wait_until(lambda: not self.running or self.answers(), "redis answers")
        if not self.running:
            raise AssertionError(self.tail())


@dataclass(frozen=True, slots=True)
class Publishing:
    """How a publication gets in: bytes sent to a port, or (`port` None) a text each client sends; `%r`: its room.

    `greeting` is what the port hears first, once. There are `links` connections to it, each for the room of its number;
    where answers are `awaited`, each waits for one before it goes on. All marks of the template are one publication;
    when it is `batched`, each is one of its own.
    """

    port: int | None
    template: bytes
    greeting: bytes = b""
    links: int = 1
    awaited: bool = False
    batched: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """Who is where: `rooms` of `members`; whether the members publish themselves, or only each room's first one;
    whether rooms keep history; whether everybody asks to be told who joins."""

    rooms: int = 1
    members: int = 1_000_000
    by_clients: bool = False
    first_only: bool = False
    announced: bool = False
    keeps: bool = False  # history, for servers that have it only where they are told
    namespace: str = "bench"
    message: str = ""

    @property
    def sources(self) -> int:
        """How many publish into one room."""
        return self.members if self.by_clients and not self.first_only else 1


class Server(ABC):
    """One server of the bench. `start` begins it with a Redis of its own; `stop` ends everything it began."""

    name: ClassVar[str]
    title: ClassVar[str]
    dialect: ClassVar[str] = "raw"
    transport: ClassVar[str] = "websocket"  # or stream (a POST's response), or events (server-sent ones)
    beside: ClassVar[str] = ""  # where clients of a streaming response send what they say
    uses_redis: ClassVar[bool] = True
    processes: ClassVar[int] = 1
    window: ClassVar[int] = 128  # publications under way when it is flooded
    secure: ClassVar[bool] = False  # clients speak TLS

    def __init__(self, home: Path, shape: Shape, cores: Cores) -> None:
        self.home = home
        self.shape = shape
        self.cores = cores
        self.redis = BenchRedis(home, cores.for_rest())
        self.ports = [free_port() for _ in range(self.processes)]
        self.server_processes: list[Process] = []
        self.helpers: list[Process] = [self.redis]

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run on this machine, or None."""
        return None if not cls.uses_redis or shutil.which("redis-server") else "no redis-server on the PATH"

    @property
    @abstractmethod
    def path(self) -> str:
        """Where clients connect; `%r` is the room."""

    @property
    def hello(self) -> str:
        """What a client says to join room `%r`; empty where the path says it."""
        return ""

    @property
    def then(self) -> str:
        """What a client of a streaming response says when it is connected."""
        return ""

    @property
    def hello_again(self) -> str:
        """What a client says that was here before and wants what it missed; empty where nothing is kept."""
        return ""

    @property
    def churn(self) -> tuple[str, str] | None:
        """What a client says to join channel `%n` as well, and to leave it; each is answered. None: it cannot."""
        return None

    @abstractmethod
    def start_processes(self) -> None:
        """Start the server's processes."""

    @abstractmethod
    def outside(self) -> Publishing:
        """How somebody who is no client publishes into room 0."""

    def inside(self) -> Publishing:
        """How a client publishes into its room."""
        return Publishing(None, self.shape.message.encode())

    def publishing(self) -> Publishing:
        """How the shape's publications get in."""
        return self.inside() if self.shape.by_clients else self.outside()

    @property
    def pids(self) -> list[int]:
        """The server's own processes."""
        return [process.pid for process in self.server_processes]

    def closed_with(self, code: int) -> int | None:
        """How many connections it says that it closed with a code; None when it does not say."""
        return None

    def start(self) -> None:
        """Start everything and wait until it can take clients."""
        if self.uses_redis:
            self.redis.start()
        self.start_processes()
        for process, port in zip(self.server_processes, self.ports, strict=True):
            wait_until(lambda p=process, n=port: not p.running or answers(n), f"{self.name} listens")
            if not process.running:
                raise AssertionError(process.tail())

    def stop(self) -> None:
        """End everything at once: nobody is left to say goodbye to."""
        for process in (*self.server_processes, *self.helpers):
            if process.running:
                workers = psutil.Process(process.pid).children(recursive=True)  # nginx's would live on
                process.kill()
                for worker in workers:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        worker.kill()

    def spawn(self, command: list[str], environment: dict[str, str] | None = None, folder: Path = ROOT) -> Process:
        """Start one of the server's processes, on its core."""
        index = len(self.server_processes)
        process = Process(f"{self.name}-{index}", self.home)
        process.spawn([*self.cores.for_server(index), *command], environment, folder)
        self.server_processes.append(process)
        return process

    def help(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> Process:
        """Start a process that is no part of the server, beside the load client."""
        process = Process(name, self.home)
        process.spawn([*self.cores.for_rest(), *command], environment)
        self.helpers.append(process)
        return process


def answers(port: int) -> bool:
    """Whether somebody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


def resp(*words: str | bytes | int) -> bytes:
    """A command as Redis reads it."""
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def as_json(value: object) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"))
