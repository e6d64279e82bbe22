"""Stock Channels: the tutorial's consumer on Daphne and on uvicorn, with the core and with the pub/sub layer.

A message is text inside JSON, as in the tutorial. From outside it is `group_send` in a process of its own.
"""

import importlib.util
import os
import sys
from typing import ClassVar

from tests.bench.servers.base import Publishing, Server, answers, as_json
from tests.cluster.support.processes import ROOT, free_port, wait_until


class Stock(Server):
    """What all four have in common."""

    layer: ClassVar[str]
    window = 8  # the core layer drops what exceeds 100 messages

    @property
    def path(self) -> str:
        return "/ws/keeping/%r/" if self.shape.keeps else "/ws/chat/%r/"

    def inside(self) -> Publishing:
        return Publishing(None, as_json({"message": self.shape.message}).encode())

    def outside(self) -> Publishing:
        port = free_port()
        relay = self.help("relay", [sys.executable, "-m", "tests.bench.stock.relay", str(port)], self._environment())
        wait_until(lambda: not relay.running or answers(port), "the relay listens")
        return Publishing(port, self.shape.message.encode() + b"\n")

    def start_processes(self) -> None:
        self.spawn([sys.executable, "-m", *self.command()], self._environment())

    def command(self) -> list[str]:
        """The server as a module with its words."""
        listen = ["-b", "127.0.0.1", "-p", str(self.ports[0]), "--access-log", os.devnull]
        return ["daphne", *listen, "-v", "0", "tests.bench.stock.asgi:application"]

    def _environment(self) -> dict[str, str]:
        own = {
            "DJANGO_SETTINGS_MODULE": "tests.bench.stock.settings",
            "STOCK_LAYER": self.layer,
            "REDIS_URL": self.redis.url,
        }
        return {**os.environ, **own, "PYTHONPATH": str(ROOT)}


class StockCore(Stock):
    """Daphne, core layer."""

    name = "stock-core"
    title = "stock Channels on Daphne, core layer"
    layer = "core"


class StockPubSub(Stock):
    """Daphne, pub/sub layer."""

    name = "stock-pubsub"
    title = "stock Channels on Daphne, pub/sub layer"
    layer = "pubsub"


class OnUvicorn(Stock):
    """The same application under uvicorn."""

    @classmethod
    def missing(cls) -> str | None:
        return super().missing() if importlib.util.find_spec("uvicorn") else "no uvicorn (requirements-bench.txt)"

    def command(self) -> list[str]:
        listen = ["--host", "127.0.0.1", "--port", str(self.ports[0])]
        return ["uvicorn", *listen, "--log-level", "warning", "tests.bench.stock.asgi:application"]


class StockCoreUvicorn(OnUvicorn):
    """uvicorn, core layer."""

    name = "stock-core-uvicorn"
    title = "stock Channels on uvicorn, core layer"
    layer = "core"


class StockPubSubUvicorn(OnUvicorn):
    """uvicorn, pub/sub layer."""

    name = "stock-pubsub-uvicorn"
    title = "stock Channels on uvicorn, pub/sub layer"
    layer = "pubsub"
