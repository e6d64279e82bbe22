"""The servers in Go, each on one processor: our peer on the centrifuge library, and NATS over WebSocket.

The peer's publications from outside come from a second process of it, which reads lines and publishes them through
Redis; those of NATS reach the server itself, which has no Redis.
"""

import os
from typing import ClassVar

from tests.bench import golang
from tests.bench.servers import certificate
from tests.bench.servers.base import Publishing, Server, answers, as_json
from tests.bench.servers.centrifuge import HISTORY_SIZE, HISTORY_TTL, CentrifugeServer
from tests.cluster.support.processes import free_port, wait_until

_ON_ONE = os.environ | {"GOMAXPROCS": "1"}


class Centrifuge(CentrifugeServer):
    """The library that Centrifugo is made of, with its Redis broker and presence, history and recovery as ours."""

    name = "centrifuge"
    title = "centrifuge library in Go, Redis broker"

    @classmethod
    def missing(cls) -> str | None:
        return golang.missing() or super().missing()

    def start_processes(self) -> None:
        for port in self.ports:
            self.spawn([*self._command(), "-port", str(port), *self._tls()], _ON_ONE)

    def _tls(self) -> list[str]:
        if not self.secure:
            return []
        own = certificate.make(self.home)
        return ["-key", str(own.key), "-chain", str(own.chain)]

    def outside(self) -> Publishing:
        port = free_port()
        channel = self.channel.replace("%r", "0")
        words = ["-lines", str(port), "-channel", channel]
        publisher = self.help("publisher", [*self._command(), *words], _ON_ONE)
        wait_until(lambda: not publisher.running or answers(port), "the publishing process listens")
        return Publishing(port, self.shape.message.encode() + b"\n")

    def _command(self) -> list[str]:
        kept = ["-history-size", str(HISTORY_SIZE), "-history-ttl", HISTORY_TTL]
        return [str(golang.peer()), "-redis", f"127.0.0.1:{self.redis.port}", *kept]


class CentrifugeTwo(Centrifuge):
    """Two processes; the load client connects to both in turn."""

    name = "centrifuge-2"
    title = "centrifuge library, 2 processes"
    processes = 2


class CentrifugeFour(Centrifuge):
    """Four processes; the load client connects to all in turn."""

    name = "centrifuge-4"
    title = "centrifuge library, 4 processes"
    processes = 4


class CentrifugeTls(Centrifuge):
    """One process that speaks TLS itself."""

    name = "centrifuge-tls"
    title = "centrifuge library in Go, TLS"
    secure = True

    @classmethod
    def missing(cls) -> str | None:
        return certificate.missing() or super().missing()


class Nats(Server):
    """nats-server; nothing is kept, nothing is numbered."""

    name = "nats"
    title = "NATS over WebSocket"
    dialect: ClassVar[str] = "nats"
    uses_redis = False

    @classmethod
    def missing(cls) -> str | None:
        return golang.missing() or super().missing()

    @property
    def path(self) -> str:
        return "/"

    @property
    def hello(self) -> str:
        return 'CONNECT {"verbose":false}\r\nSUB bench.%r 1\r\nPING\r\n'

    @property
    def churn(self) -> tuple[str, str]:
        return "SUB bench.v%n 2\r\nPING\r\n", "UNSUB 2\r\nPING\r\n"

    def inside(self) -> Publishing:
        return Publishing(None, self._publication("%r"))

    def outside(self) -> Publishing:
        return Publishing(self._port, self._publication("0"), greeting=b'CONNECT {"verbose":false}\r\n')

    def start_processes(self) -> None:
        self._port = free_port()
        config = {
            "listen": f"127.0.0.1:{self._port}",
            "websocket": {"listen": f"127.0.0.1:{self.ports[0]}", "no_tls": True},
            "ping_interval": "1h",  # nobody is asked during a job whether he is still there
        }
        path = self.home / "nats.conf"
        path.write_text(as_json(config))
        self.spawn([str(golang.nats_server()), "--config", str(path)], _ON_ONE)

    def _publication(self, room: str) -> bytes:
        message = self.shape.message
        return f"PUB bench.{room} {len(message)}\r\n{message}\r\n".encode()
