"""A whole installation for a drill: Redis, two instances, a service that their webhook tells, Prometheus, Alertmanager
and a receiver.

Prometheus and Alertmanager run with the files that are shipped; only the addresses in them are replaced. The instances
run without a supervisor, so that a killed one stays dead until the drill starts it again; where they are `supervised`
they are those of one `manage.py serve`, which is the one program in `instances`.
"""

import contextlib
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from flotilla import monitoring
from flotilla.ops.drill import permission
from flotilla.ops.drill.processes import (
    ROOT,
    DrillFailed,
    Program,
    free_ports,
    port_and_row,
    program,
    require_service,
    wait_for,
)
from flotilla.ops.drill.receiver import Receiver
from flotilla.ops.drill.service import Service
from flotilla.ops.prometheus_api import Prometheus, Unreachable, get

FILES = Path(monitoring.__file__).parent  # the files that are shipped
READY_WITHIN = 180.0  # seconds: a busy machine starts four programs at once
SLOW_DRAIN = {"DRAIN_GRACE": "15", "DRAIN_DEADLINE": "30"}  # seconds: longer than an alert waits
CONFIG: dict[str, Any] = {
    "anonymous": True,
    "show_instance": True,
    "abuse": None,  # a flood is to be denied, not disconnected
    "namespaces": {
        "drill": {
            "presence": True,
            "join_leave": True,
            "force_push_join_leave": True,
            "history_size": 1000,
            "history_ttl": "60s",
            "force_recovery": True,
        }
        | {
            f"allow_{what}_for_{whom}": True
            for what in ("subscribe", "publish", "presence", "history")
            for whom in ("client", "anonymous")
        },
        "guarded": {"subscribe_permission": f"{permission.__name__}.{permission.everybody.__name__}"},
    },
    "rate_limits": {"drill-publish": {"guards": "ws.publish", "key": "user_or_ip", "rate": "200/s burst=200"}},
}


class Stack:
    """Use it as a context: everything runs inside the block, and is gone after it."""

    def __init__(self, *, supervised: bool = False, slow_drain: bool = False) -> None:
        require_service()
        self._slow_drain = slow_drain
        self.home = Path(tempfile.mkdtemp(prefix="flotilla-drill-"))
        self._ports = iter(free_ports(12))
        self.service = Service()
        self.api_key = secrets.token_hex(16)
        receiver = next(self._ports)
        redis = next(self._ports)
        self.redis = Program("redis", self.home, self._redis_command(redis))
        self._environment = self._instances_environment(redis)
        if supervised:
            port, *self.metrics_ports = port_and_row(2)
            self.ports = [port]
            self.instances = [self._supervisor()]
        else:
            self.ports = [next(self._ports), next(self._ports)]
            self.metrics_ports = [next(self._ports), next(self._ports)]
            self.instances = [self._instance(number) for number in range(2)]
        alertmanager, prometheus = next(self._ports), next(self._ports)
        self.alertmanager_url = f"http://127.0.0.1:{alertmanager}"
        self._alertmanager = Program("alertmanager", self.home, self._alertmanager_command(alertmanager, receiver))
        self._prometheus = Program("prometheus", self.home, self._prometheus_command(prometheus, alertmanager))
        self.prometheus = Prometheus(f"http://127.0.0.1:{prometheus}")
        self.receiver = Receiver(receiver)

    def __enter__(self) -> "Stack":
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything and remove its files."""
        for one in self.instances if self._slow_drain else ():
            one.kill()
        for one in (*self.instances, self._prometheus, self._alertmanager, self.redis):
            one.stop()
        self.receiver.close()
        self.service.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def url(self, instance: int) -> str:
        """Where an instance answers HTTP."""
        return f"http://127.0.0.1:{self.ports[instance]}"

    def target(self, instance: int) -> str:
        """An instance as Prometheus calls it."""
        return f"127.0.0.1:{self.metrics_ports[instance]}"

    def tails(self) -> str:
        """The ends of all logs."""
        everyone = (*self.instances, self.redis, self._prometheus, self._alertmanager)
        return "\n".join(one.tail() for one in everyone)

    def _start(self) -> None:
        self.redis.start()
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        done = subprocess.run(migrate, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DrillFailed(f"the database could not be made:\n{done.stderr[-2000:]}")
        for one in (*self.instances, self._alertmanager, self._prometheus):
            one.start()
        for number, one in enumerate(self.instances):
            self._await(lambda number=number: self.is_ready(number), one)
        self._await(lambda: answers(f"{self.alertmanager_url}/api/v2/status"), self._alertmanager)
        self._await(lambda: self._seen() == len(self.metrics_ports), self._prometheus)

    def _await(self, condition: Any, one: Program) -> None:
        try:
            wait_for(lambda: condition() or not one.running, f"{one.name} is ready", READY_WITHIN)
        except DrillFailed as error:
            raise DrillFailed(f"{error}\n{one.tail()}") from None
        if not one.running:
            raise DrillFailed(f"{one.name} ended\n{one.tail()}")

    def is_ready(self, number: int) -> bool:
        """Whether an instance says that it can take clients."""
        return answers(f"{self.url(number)}/health/ready")

    def _seen(self) -> float | None:
        try:
            return self.prometheus.value('sum(app_ready{job="flotilla"})')
        except Unreachable:
            return None

    # The outbox

    def hang_relay(self) -> None:
        """As if a relay of elsewhere had the lease and hung: nobody else sends what is written to the outbox."""
        self._give_lease("a relay that hangs", "9999-01-01 00:00:00")

    def end_relay(self) -> None:
        """It ends, and its lease is free."""
        self._give_lease("", "1970-01-01 00:00:00")

    def _give_lease(self, holder: str, until: str) -> None:
        with contextlib.closing(sqlite3.connect(self.home / "db.sqlite3", timeout=20)) as database, database:
            database.execute("UPDATE flotilla_outbox_relay SET holder = ?, until = ?", (holder, until))

    # Commands

    def _redis_command(self, port: int) -> list[str]:
        return [
            program("redis-server"),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(self.home),
        ]

    def _instance(self, number: int) -> Program:
        listen = ["-b", "127.0.0.1", "-p", str(self.ports[number]), "--access-log", os.devnull]
        own = {"INSTANCE_ID": f"drill-{number}", "METRICS_PORT": str(self.metrics_ports[number])}
        command = [sys.executable, "-m", "flotilla.realtime.server.daphne", *listen, "project.asgi:application"]
        return Program(f"drill-{number}", self.home, command, self._environment | own)

    def _supervisor(self) -> Program:
        own = {"INSTANCE_ID": "drill", "METRICS_PORT": str(self.metrics_ports[0])}
        options = ["--instances", "2", "--host", "127.0.0.1", "--port", str(self.ports[0])]
        command = [sys.executable, "manage.py", "serve", *options]
        return Program("serve", self.home, command, self._environment | own)

    def _instances_environment(self, redis: int) -> dict[str, str]:
        own = {"REDIS_URL": f"redis://127.0.0.1:{redis}", "REALTIME_API_KEYS": self.api_key}
        return (
            environment(self.home, CONFIG | {"webhooks": {"service": self.service.webhook}})
            | own
            | (SLOW_DRAIN if self._slow_drain else {})
        )

    def _prometheus_command(self, port: int, alertmanager: int) -> list[str]:
        folder = Path(shutil.copytree(FILES / "prometheus", self.home / "prometheus"))
        text = (folder / "prometheus.yml").read_text()
        (folder / "prometheus.yml").write_text(text.replace("127.0.0.1:9093", f"127.0.0.1:{alertmanager}"))
        targets = [{"targets": [self.target(0), self.target(1)], "labels": {"cluster": "drill"}}]
        (folder / "targets" / "flotilla.json").write_text(json.dumps(targets))
        return [
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.home / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]

    def _alertmanager_command(self, port: int, receiver: int) -> list[str]:
        text = (FILES / "alertmanager" / "alertmanager.yml").read_text()
        path = self.home / "alertmanager.yml"
        path.write_text(text.replace("127.0.0.1:9095", f"127.0.0.1:{receiver}"))
        return [
            program("prometheus-alertmanager", "alertmanager"),
            f"--config.file={path}",
            f"--storage.path={self.home / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]


def environment(home: Path, config: dict[str, Any]) -> dict[str, str]:
    """The environment of an installation that lives in `home`, with nothing of the machine's own settings."""
    path = home / "realtime.json"
    path.write_text(json.dumps(config))
    ours = ("REDIS", "REALTIME", "RATE_LIMIT", "DJANGO", "METRICS", "DRAIN", "FLOTILLA", "INSTANCE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DJANGO_SECRET_KEY": secrets.token_hex(32),
        "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
        "DATABASE_URL": f"sqlite:///{home}/db.sqlite3",
        "FLOTILLA_VAR": str(home),
        "REALTIME_TOKEN_SECRET": secrets.token_hex(32),
        "REALTIME_CONFIG": str(path),
    }


def answers(url: str) -> bool:
    """Whether it answers with a success."""
    try:
        get(url)
    except Unreachable:
        return False
    return True


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Send a request; returns the status, 0 when nobody answered."""
    request = urllib.request.Request(url, body or None, headers)  # noqa: S310  an address of the drill's own
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
