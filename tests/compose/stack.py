"""The stack of docker-compose.yml for the tests: a project of its own on ports of its own, as anybody would start it.

What a test did to a container is undone by `heal`; `down` leaves nothing behind.
"""

import json
import os
import re
import resource
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from flotilla.ops.drill.receiver import Receiver
from flotilla.ops.prometheus_api import Prometheus, Unreachable
from tests.cluster.support.harness import API_KEY, SECRET
from tests.cluster.support.processes import ROOT, free_port, wait_until
from tests.cluster.support.subscribers import CONFIG as PROOF
from tests.compose.engine import docker, get_images, run

PROJECT = f"flotilla-test-{os.getpid()}"
BACKENDS = ("backend1", "backend2")
PROCEDURE_WITHIN = 400.0  # seconds
UP_WITHIN = 300  # seconds, with the images present: patience for a busy machine; it takes 10 to 25
DRAIN_DEADLINE = 15.0
FILES = 65536
NOT_OURS = ("COMPOSE_", "DATABASE_", "DJANGO_", "DRAIN_", "RATE_LIMIT_", "REALTIME_", "REDIS_")  # Compose reads them
OPEN: dict[str, Any] = {
    "history_size": 1000,
    "history_ttl": "5m",
    "force_recovery": True,
    "presence": True,
    "allow_subscribe_for_client": True,
    "allow_publish_for_client": True,
    "allow_history_for_client": True,
    "allow_presence_for_client": True,
}
CONFIG: dict[str, Any] = PROOF | {"ping_interval": 5, "pong_timeout": 3}
CONFIG["namespaces"] = PROOF["namespaces"] | {"open": OPEN}


@dataclass(frozen=True)
class Balanced:
    """What the balancer takes a server for, and since when (Unix time)."""

    server: str
    up: bool
    since: float


class Stack:
    """The running stack."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.local_images: list[str] = []  # those that no registry gave
        self.took = 0.0  # seconds until everything was well
        self.port, prometheus, alertmanager, grafana, receiver = (free_port() for _ in range(5))
        self.http = f"http://127.0.0.1:{self.port}"
        self.url = f"ws://127.0.0.1:{self.port}/connection/websocket"
        self.prometheus = Prometheus(f"http://127.0.0.1:{prometheus}")
        self.grafana = f"http://127.0.0.1:{grafana}"
        self.receiver = Receiver(receiver, "0.0.0.0")  # Alertmanager comes over a bridge of the engine's
        (home / "realtime.toml").write_text(_toml(CONFIG))
        (home / "alertmanager.yml").write_text(_alertmanager(receiver))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
        self._environment = kept | {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "HTTP_ADDRESS": f"127.0.0.1:{self.port}",
            "PROMETHEUS_ADDRESS": f"127.0.0.1:{prometheus}",
            "ALERTMANAGER_ADDRESS": f"127.0.0.1:{alertmanager}",
            "GRAFANA_ADDRESS": f"127.0.0.1:{grafana}",
            "NETWORK_PREFIX": "172.28.252",  # a stack that runs here already has the other
            "REALTIME_CONFIG": str(home / "realtime.toml"),
            "ALERTMANAGER_CONFIG": str(home / "alertmanager.yml"),
            "REALTIME_TOKEN_SECRET": SECRET,
            "REALTIME_API_KEYS": API_KEY,
            "DRAIN_DEADLINE": f"{DRAIN_DEADLINE:g}",
            "CA_BUNDLE": os.environ.get("CA_BUNDLE") or os.environ.get("PIP_CERT") or "/dev/null",
            "NOFILE": os.environ.get("NOFILE") or str(min(FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])),
        }

    # Commands

    def compose(self, *words: str, within: float = 300.0) -> str:
        """Run `docker compose …` and return what it printed. Raises AssertionError."""
        return run(["docker", "compose", *words], within, self._environment)

    def procedure(self, name: str, *words: str, **more: str) -> str:
        """Run one of deploy/procedures to its end and return what it printed. Raises AssertionError."""
        script = ROOT / "deploy" / "procedures" / f"{name}.sh"
        return run([str(script), *words], PROCEDURE_WITHIN, self._environment | more)

    @contextmanager
    def other_environment(self, **more: str) -> Iterator[None]:
        """Other variables for Compose, in a block."""
        before = self._environment
        self._environment = before | more
        try:
            yield
        finally:
            self._environment = before

    def started(self, service: str) -> str:
        """When a service's container was started, as text that can be compared."""
        return docker("inspect", "--format", "{{.State.StartedAt}}", self.container(service)).strip()

    def container(self, service: str) -> str:
        """The name of a service's container."""
        return f"{PROJECT}-{service}-1"

    def up(self) -> None:
        """Build, start everything, and wait until it is well."""
        self.local_images = get_images()
        if self.local_images:
            self._environment["IMAGE_DIGEST"] = ""  # who has no registry has no digests either
        self.compose("build", "--quiet", within=900)
        began = time.monotonic()
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", str(UP_WITHIN), within=UP_WITHIN + 60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tails()}") from None
        self.took = time.monotonic() - began

    def down(self) -> None:
        """Remove everything that was made."""
        try:
            self.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
        finally:
            self.receiver.close()

    # Faults

    def disconnect(self, service: str) -> None:
        """Take a container out of every network it is in."""
        for network in self._networks(service):
            docker("network", "disconnect", "--force", network, self.container(service))

    def _reconnect(self, service: str) -> None:
        wanted = ["data"] if service == "redis" else ["default", "data"]
        missing = {f"{PROJECT}_{name}" for name in wanted} - set(self._networks(service))
        for network in sorted(missing):
            docker("network", "connect", "--alias", service, network, self.container(service))

    def _networks(self, service: str) -> list[str]:
        shown = docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", self.container(service))
        return list(json.loads(shown))

    def crash(self, service: str) -> None:
        """Kill the processes in a container, as a fault of their own would."""
        words = ["docker", "exec", self.container(service), "python", "-c", "import os; os.kill(-1, 9)"]
        subprocess.run(words, capture_output=True, timeout=30, check=False)  # it may go down with the rest

    def heal(self, *, within: float = 60.0) -> None:
        """Everything runs, is reachable and ready, and Prometheus and the balancer know."""
        for service in (*BACKENDS, "redis"):
            state = docker("inspect", "--format", "{{.State.Status}}", self.container(service)).strip()
            if state == "paused":
                docker("unpause", self.container(service))
            elif state != "running":
                docker("start", self.container(service))
            self._reconnect(service)
        wait_until(lambda: all(self.balanced(name).up for name in BACKENDS), "both backends get clients", within)
        wait_until(lambda: self.ready_instances() == 2 and not self.alarmed(), "no instance is missed", within)

    # What there is to see

    def balanced(self, server: str) -> Balanced:
        """The balancer's last word on a server. Its log has the time, to the millisecond."""
        log = docker("logs", "--timestamps", self.container("haproxy"), stderr=subprocess.STDOUT)
        pattern = re.compile(
            rf"^(\S+) Server websockets/{server} .*?(is UP|READY|is DOWN|going DOWN|enters maintenance)", re.MULTILINE
        )
        found = pattern.findall(log)
        if not found:
            return Balanced(server, False, 0.0)
        up = found[-1][1] in ("is UP", "READY")
        changed = next(i for i in reversed(range(len(found))) if i == 0 or _up(found[i - 1]) != up)
        at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z", r"\1+00:00", found[changed][0]))
        return Balanced(server, up, at.timestamp())

    def ready_instances(self) -> float | None:
        """How many instances Prometheus finds ready; None while it does not answer."""
        try:
            return self.prometheus.value('sum(app_ready{job="flotilla"} and on (instance) up{job="flotilla"} == 1)')
        except Unreachable:
            return None

    def alarmed(self) -> bool:
        """Whether Prometheus tells that an instance is missed."""
        try:
            firing = [one["labels"]["alertname"] for one in self.prometheus.alerts() if one["state"] == "firing"]
        except Unreachable:
            return True
        return "readiness_down" in firing

    def missed(self, service: str) -> bool:
        """Whether Prometheus sees that an instance is not well."""
        try:
            found = self.prometheus.value(
                f'up{{instance="{service}:9400"}} == 0 or app_ready{{instance="{service}:9400"}} == 0'
            )
        except Unreachable:
            return False
        return found is not None

    def tails(self) -> str:
        """The ends of the logs."""
        return self.compose("logs", "--no-color", "--tail", "25")


def _up(found: tuple[str, str]) -> bool:
    return found[1] in ("is UP", "READY")


def _toml(config: dict[str, Any]) -> str:
    """A configuration as TOML, which JSON's plain values are."""
    plain = [f"{name} = {json.dumps(value)}" for name, value in config.items() if name != "namespaces"]
    for name, options in config["namespaces"].items():
        plain += [f"[namespaces.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in options.items())]
    return "\n".join(plain)


def _alertmanager(port: int) -> str:
    """The file that is shipped, with the receiver's port, and without the patience that people like."""
    text = (ROOT / "deploy" / "alertmanager.yml").read_text().replace(":9095", f":{port}")
    return text.replace("group_wait: 5s", "group_wait: 1s").replace("group_interval: 10s", "group_interval: 2s")


def served_by(http: str) -> str:
    """The instance that answers a request right now; "" when none does."""
    try:
        with urllib.request.urlopen(f"{http}/health/live", timeout=5) as response:
            return str(json.load(response)["instance"])
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return ""
