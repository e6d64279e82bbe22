"""A cluster of the load's own: `manage.py serve` with its embedded Redis, in a temporary folder, on a free port.

Its limits are those that are promised to the clients; `lenient` makes them let through so many times more, for the
proof that the gate sees it. Gone with the block.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flotilla.ops.drill.processes import DrillFailed, Program, port_and_row, require_service, wait_for
from flotilla.ops.drill.stack import environment
from flotilla.ops.load import server_side
from flotilla.ratelimit.algorithms.rates import Rate, parse_rate

READY_WITHIN = 90.0  # seconds
PAGE = "/admin/login/"
PROMISED = {"publish": parse_rate("5/s burst=10"), "http": parse_rate("5/s burst=10")}
_EVERYBODY = {f"allow_{what}_for_client": True for what in ("subscribe", "publish", "presence", "history")}


def _config(lenient: int) -> dict[str, Any]:
    def rate(policy: str) -> str:
        promised = PROMISED[policy]
        return str(replace(promised, count=promised.count * lenient, burst=(promised.burst or 0) * lenient))

    return {
        "without_namespace": {"history_size": 2000, "history_ttl": "10m", "force_recovery": True, **_EVERYBODY},
        "abuse": {"denials": 150, "window": 10},  # the fastest of those who flood are thrown out, the others stay
        "rate_limits": {
            "load-publish": {"guards": "ws.publish", "key": "user", "rate": rate("publish")},
            "load-http": {"guards": f"http:{PAGE}", "key": "header:X-Load-Client", "rate": rate("http")},
        },
    }


class Cluster:
    """Use it as a context: it serves inside the block."""

    page = PAGE
    promised: Mapping[str, Rate] = PROMISED

    def __init__(self, instances: int, lenient: int = 1) -> None:
        require_service()
        self._home = Path(tempfile.mkdtemp(prefix="flotilla-load-"))
        port, *metrics = port_and_row(instances)
        self.address = f"127.0.0.1:{port}"
        self.metrics = [f"http://127.0.0.1:{one}/metrics" for one in metrics]
        self._environment = environment(self._home, _config(lenient))
        self._environment |= {"METRICS_PORT": str(metrics[0]), "INSTANCE_ID": "load"}
        options = ["--instances", str(instances), "--host", "127.0.0.1", "--port", str(port)]
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        self._migrate = Program("migrate", self._home, migrate, self._environment)
        command = [sys.executable, "manage.py", "serve", *options]
        self._serve = Program("serve", self._home, command, self._environment)

    @property
    def token_secret(self) -> str:
        """What its tokens are signed with."""
        return self._environment["REALTIME_TOKEN_SECRET"]

    def __enter__(self) -> "Cluster":
        try:
            self._migrate.start()
            self._await(lambda: not self._migrate.running, "the database is made", self._migrate)
            self._serve.start()
            self._await(self._whole, "all instances are ready", self._serve)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._migrate.stop()
        self._serve.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def tail(self) -> str:
        """The end of its log."""
        return self._serve.tail()

    def _await(self, condition: Callable[[], bool], what: str, one: Program) -> None:
        try:
            wait_for(lambda: condition() or not one.running, what, READY_WITHIN)
        except DrillFailed as error:
            raise DrillFailed(f"{error}\n{one.tail()}") from None
        if not condition():
            raise DrillFailed(f"{one.name} ended\n{one.tail()}")

    def _whole(self) -> bool:
        return all(server_side.is_ready(url) for url in self.metrics)
