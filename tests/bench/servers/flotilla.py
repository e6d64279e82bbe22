"""Flotilla on its Daphne: presence, history and recovery on. Who is no client publishes with the product's own script,
sent straight to Redis, as any other process of an application does: the server does not do the publisher's work."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from tests.bench.servers import certificate
from tests.bench.servers.base import Publishing, as_json
from tests.bench.servers.centrifuge import API_KEY, HISTORY_SIZE, HISTORY_TTL, CentrifugeServer
from tests.bench.servers.certificate import trusting
from tests.cluster.support.processes import ROOT, free_port, wait_until

SECRET = "a secret of the bench, long enough to be one"
_OPEN = {
    "presence": True,
    "history_size": HISTORY_SIZE,
    "history_ttl": HISTORY_TTL,
    "force_recovery": True,
    "allow_subscribe_for_client": True,
    "allow_subscribe_for_anonymous": True,
    "allow_publish_for_client": True,
    "allow_publish_for_anonymous": True,
}
NAMESPACES: dict[str, dict[str, Any]] = {
    "bench": _OPEN,
    "hall": {  # every join and leave is announced to those who ask for it
        **_OPEN,
        "join_leave": True,
        "allow_presence_for_subscriber": True,
        "allow_presence_for_anonymous": True,
    },
}


class Flotilla(CentrifugeServer):
    """One process."""

    name = "flotilla"
    title = "Flotilla on Daphne"
    options: ClassVar[dict[str, Any]] = {}
    settings: ClassVar[str] = "project.settings"
    pure: ClassVar[bool] = False
    """Without the compiled part."""
    root: ClassVar[Path] = ROOT
    """Where its sources are: another revision's, when revisions are compared."""

    def outside(self) -> Publishing:
        first = self.channel.replace("%r", "0").replace("%R", "000000")
        command = [sys.executable, "-m", "tests.bench.flotilla_publication", first]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, input=self.shape.message, capture_output=True, text=True
        )
        if done.returncode:
            raise AssertionError(done.stderr)
        return Publishing(self.redis.port, bytes.fromhex(done.stdout))

    @property
    def environment(self) -> dict[str, str]:
        """What its processes have in common."""
        return self._environment

    def closed_with(self, code: int) -> int | None:
        return int(self.counted(rf'flotilla_connections_closed_total{{code="{code}"}}'))

    def counted(self, pattern: str) -> float:
        """The sum of the metrics whose name and labels match, over all processes."""
        total = 0.0
        for port in self._metrics_ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
                found = re.findall(rf"^{pattern} (\S+)$", response.read().decode(), re.MULTILINE)
                total += sum(map(float, found))
        return total

    def configure(self, more: dict[str, str]) -> None:
        """Make its configuration, its environment with `more` in it, and its tables."""
        config = {"anonymous": True, "abuse": None, "namespaces": NAMESPACES, **self.options}
        prepare(self.root)
        path = self.home / "realtime.json"
        path.write_text(as_json(config))
        own = ("REDIS", "REALTIME", "DJANGO", "INSTANCE")
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith(own)} | {
            "PYTHONPATH": str(self.root),
            "DJANGO_SETTINGS_MODULE": self.settings,
            "DJANGO_SECRET_KEY": SECRET,
            "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": f"sqlite:///{self.home}/db.sqlite3",
            "FLOTILLA_VAR": str(self.home),
            "REDIS_URL": self.redis.url,
            "REALTIME_TOKEN_SECRET": SECRET,
            "REALTIME_API_KEYS": API_KEY,
            "REALTIME_CONFIG": str(path),
            "FLOTILLA_PURE_PYTHON": "1" if self.pure else "0",
            **more,
        }
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=self.root, env=self.environment, check=True)

    def start_processes(self) -> None:
        self.configure({})
        self._metrics_ports = [free_port() for _ in self.ports]
        for number, port in enumerate(self.ports):
            own_names = {"INSTANCE_ID": f"bench-{number}", "METRICS_PORT": str(self._metrics_ports[number])}
            self.spawn(self._command(port), self.environment | own_names, self.root)
        for process, port in zip(self.server_processes, self.ports, strict=True):
            wait_until(lambda p=process, n=port: not p.running or self._ready(n), f"{self.name} is ready")

    def _command(self, port: int) -> list[str]:
        """What starts a process."""
        server = [sys.executable, "-m", "flotilla.realtime.server.daphne", *self._listening(port)]
        return [*server, "--access-log", os.devnull, "project.asgi:application"]

    def _listening(self, port: int) -> list[str]:
        """The words that say where a process listens."""
        return ["-b", "127.0.0.1", "-p", str(port)]

    def _ready(self, port: int) -> bool:
        scheme, context = ("https", trusting()) if self.secure else ("http", None)
        try:
            address = f"{scheme}://127.0.0.1:{port}/health/ready"
            with urllib.request.urlopen(address, timeout=2, context=context) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class FlotillaUnjoined(Flotilla):
    """One process that sends each publication by itself."""

    name = "flotilla-unjoined"
    title = "Flotilla, one send per publication"
    options: ClassVar[dict[str, Any]] = {"max_joined_bytes": 0}

    @classmethod
    def missing(cls) -> str | None:
        from flotilla.realtime.conf import RealtimeConfig

        absent = "max_joined_bytes" not in RealtimeConfig.__struct_fields__
        return "joining cannot be turned off in this version" if absent else super().missing()


class FlotillaTwo(Flotilla):
    """Two processes; the load client connects to both in turn."""

    name = "flotilla-2"
    title = "Flotilla, 2 processes"
    processes = 2


class FlotillaFour(Flotilla):
    """Four processes; the load client connects to all in turn."""

    name = "flotilla-4"
    title = "Flotilla, 4 processes"
    processes = 4


class FlotillaPure(Flotilla):
    """One process without the compiled part."""

    name = "flotilla-pure"
    title = "Flotilla, pure Python"
    pure = True

    @classmethod
    def missing(cls) -> str | None:
        return super().missing() if _build(cls.root).exists() else "this version has no compiled part"


class FlotillaTls(Flotilla):
    """One process that speaks TLS itself."""

    name = "flotilla-tls"
    title = "Flotilla on Daphne, TLS"
    secure = True

    @classmethod
    def missing(cls) -> str | None:
        return certificate.missing() or super().missing()

    def _listening(self, port: int) -> list[str]:
        own = certificate.make(self.home)
        return ["-e", f"ssl:{port}:interface=127.0.0.1:privateKey={own.key}:certKey={own.chain}"]


class FlotillaPages(Flotilla):
    """One process that serves the bench's page as well."""

    name = "flotilla-pages"
    title = "Flotilla on Daphne, and Django's pages"
    settings = "tests.bench.pages.beside_flotilla"


def _build(root: Path) -> Path:
    return root / "flotilla" / "speedups" / "build.py"


@cache
def prepare(root: Path) -> None:
    """Compile what the sources there have to be compiled, if anything; raises CalledProcessError if that fails."""
    if _build(root).exists():
        subprocess.run([sys.executable, "-m", "flotilla.speedups.build"], cwd=root, check=True)
