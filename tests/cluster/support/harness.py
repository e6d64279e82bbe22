"""The instances of the cluster tests: each behind a port of its own (`Cluster`), or as users run them (`Served`)."""

import atexit
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.cluster.support.processes import READY_WITHIN, ROOT, Process, a_redis, free_port, wait_until

CONFIG: dict[str, Any] = json.loads(Path(__file__).with_name("config.json").read_text())  # what most tests run on
SECRET = "a secret of the cluster tests, long enough to be one"
API_KEY = "the key of the cluster tests"
PLAIN = os.environ.get("FLOTILLA_TEST_SERVER", "")  # a server to run in place of our own (`make test-plain`)
ROUTED = "tests.cluster.support.routed:application"  # everything comes by ASGI (`make test-routed`)
ENDED = {0, -15} if PLAIN == "uvicorn" else {0}  # exit codes of an instance that was told to end and did


def environment(home: Path, redis_url: str, config: dict[str, Any], **more: str) -> dict[str, str]:
    """The environment of the instances: the settings of the test, nothing of the machine's own."""
    path = home / "realtime.json"
    path.write_text(json.dumps(config))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS", "REALTIME", "DJANGO"))}
    kept.pop("INSTANCE_ID", None)
    own = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "DJANGO_SETTINGS_MODULE": "tests.cluster.support.clusterapp.settings",
        "DJANGO_SECRET_KEY": SECRET,
        "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
        "DATABASE_URL": f"sqlite:///{home}/db.sqlite3",
        "FLOTILLA_VAR": str(home),
        "METRICS_PORT": str(free_port()),
        "REDIS_URL": redis_url,
        "REALTIME_TOKEN_SECRET": SECRET,
        "REALTIME_API_KEYS": API_KEY,
        "REALTIME_CONFIG": str(path),
    }
    return kept | own | more


def manage(env: dict[str, str], *words: str, folder: Path = ROOT) -> str:
    """Run a management command to its end and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "django", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=240
    )
    if done.returncode:
        raise AssertionError(f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


_tables: dict[str, Path] = {}  # by settings module: a database with its tables, once one was made in this process


def migrate(env: dict[str, str]) -> None:
    """Give the instances of an environment their tables: made once in a process, and copied from then on."""
    if not env["DATABASE_URL"].startswith("sqlite:"):
        manage(env, "migrate", "--verbosity", "0")
        return
    database = Path(env["DATABASE_URL"].removeprefix("sqlite:///"))
    module = env["DJANGO_SETTINGS_MODULE"]
    if module in _tables:
        shutil.copyfile(_tables[module], database)
        return
    manage(env, "migrate", "--verbosity", "0")
    kept = Path(tempfile.mkdtemp(prefix="flotilla-tables-"))
    atexit.register(shutil.rmtree, kept, ignore_errors=True)
    _tables[module] = Path(shutil.copyfile(database, kept / database.name))


class Instance(Process):
    """One instance behind a port of its own. `server`: flotilla (our own Daphne), or as they come: daphne,
    uvicorn, hypercorn."""

    listens_at = "127.0.0.1"

    def __init__(self, name: str, home: Path, env: dict[str, str], server: str = "flotilla") -> None:
        super().__init__(name, home)
        self.port = free_port()
        self._env = env | {"INSTANCE_ID": name}
        self._server = PLAIN if PLAIN and server == "flotilla" else server

    @property
    def http(self) -> str:
        """Its URL."""
        return f"http://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Where its clients connect."""
        return f"ws://{self.host}:{self.port}/connection/websocket"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it."""
        self.spawn([sys.executable, "-m", *self._command()], self._env)

    def wait_ready(self) -> None:
        """Wait until it says that it can take clients."""
        try:
            wait_until(lambda: not self.running or self.ready(), f"{self.name} is ready")
            assert self.running, f"{self.name} ended with {self.exit_code}"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def _command(self) -> list[str]:
        application = ROUTED if os.environ.get("FLOTILLA_TEST_ROUTED") else "project.asgi:application"
        host, port = self.listens_at, str(self.port)
        listen = ["-b", host, "-p", port, "--access-log", os.devnull, application]
        if self._server == "uvicorn":
            return ["uvicorn", "--host", host, "--port", port, "--log-level", "warning", application]
        if self._server == "hypercorn":
            return ["hypercorn", "--bind", f"{host}:{port}", "--log-level", "warning", application]
        return ["daphne", *listen] if self._server == "daphne" else ["flotilla.realtime.server.daphne", *listen]

    def ready(self) -> bool:
        """Whether it says that it can take clients."""
        return ready(self.http)


def ready(http: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether an address answers that it is ready; over TLS by a context."""
    try:
        with urllib.request.urlopen(f"{http}/health/ready", timeout=2, context=context) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Cluster:
    """A Redis and instances of known ports on it, one for each server named: what most tests need."""

    def __init__(self, home: Path, config: dict[str, Any], *servers: str, fsync: str = "always", **more: str) -> None:
        self.redis = a_redis(home, fsync)
        self.env = environment(home, self.redis.url, config, **more)
        self.instances = [Instance(f"{server}-{i}", home, self.env, server) for i, server in enumerate(servers)]

    def __getitem__(self, index: int) -> Instance:
        return self.instances[index]

    def start(self) -> None:
        """Start everything and wait until it is ready."""
        try:
            self.redis.start()
            migrate(self.env)
            for instance in self.instances:
                instance.launch()
            for instance in self.instances:
                instance.wait_ready()
        except BaseException:
            self.stop()
            raise

    def made_well(self) -> "Cluster":
        """Itself, when the instances that a test has ended or paused are there and ready again."""
        for instance in self.instances:
            instance.send(signal.SIGCONT)
            if not instance.running:
                instance.launch()
        for instance in self.instances:
            instance.wait_ready()
        return self

    def stop(self) -> None:
        """End everything, the instances first."""
        for process in (*self.instances, self.redis):
            process.stop()

    def tails(self) -> str:
        """The ends of all logs."""
        return "\n".join(process.tail() for process in (*self.instances, self.redis))


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster for the time of a block, stopped in any case."""
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


class Served(Process):
    """`manage.py serve`: instances behind one address, which are started again when they die."""

    ready_within = READY_WITHIN  # seconds

    def __init__(
        self, home: Path, config: dict[str, Any], instances: int = 2, fsync: str = "always", **more: str
    ) -> None:
        super().__init__("serve", home)
        self.redis = a_redis(home, fsync)
        self.port = free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        self.url = f"ws://127.0.0.1:{self.port}/connection/websocket"
        self.env = environment(home, self.redis.url, config, INSTANCE_ID="unit", **more)
        self._count = instances

    def start(self) -> None:
        """Start everything and wait until every instance is ready."""
        self.redis.start()
        migrate(self.env)
        options = ["--instances", str(self._count), "--host", "127.0.0.1", "--port", str(self.port)]
        self.spawn([sys.executable, "manage.py", "serve", *options], self.env)
        try:
            self.wait_complete()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything."""
        super().stop()
        self.redis.stop()

    def pids(self) -> dict[str, int]:
        """The process ids of the instances that run, by name."""
        found = {}
        for child in psutil.Process(self.pid).children():
            try:
                found[child.environ()["INSTANCE_ID"]] = child.pid
            except (psutil.Error, KeyError):
                continue
        return found

    def crash(self, name: str) -> None:
        """Kill an instance with SIGKILL."""
        os.kill(self.pids()[name], signal.SIGKILL)

    def complete(self) -> bool:
        """Whether all instances are in the cluster, and each takes connections."""
        return len(self.nodes()) == self._count and len(self._listening()) == self._count

    def _listening(self) -> set[str]:
        found = set()
        for name, pid in self.pids().items():
            with suppress(psutil.Error):
                connections = psutil.Process(pid).net_connections(kind="tcp")
                if any(one.status == psutil.CONN_LISTEN and one.laddr.port == self.port for one in connections):
                    found.add(name)
        return found

    def wait_complete(self) -> None:
        """Wait until all instances serve."""
        try:
            wait_until(lambda: not self.running or self.complete(), "all instances serve", self.ready_within)
            assert self.running, f"serve ended with {self.exit_code}"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def api_key(self) -> str:
        """A key of its HTTP API."""
        return API_KEY

    def nodes(self) -> list[dict[str, Any]]:
        """The living instances, as the HTTP API knows them; empty while nobody answers."""
        headers = {"X-API-Key": self.api_key(), "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.http}/api/info", b"{}", headers)
        try:
            with urllib.request.urlopen(request, timeout=2) as response:
                nodes: list[dict[str, Any]] = json.load(response)["result"]["nodes"]
                return nodes
        except (urllib.error.URLError, OSError, KeyError, ValueError):
            return []

    def tails(self) -> str:
        """The ends of all logs."""
        return f"{self.tail()}\n{self.redis.tail()}"
