"""Where the campaign is fought: two instances on one Redis, one of them attacked, and a balancer before that one.

The instances run with the defaults that a project gets; what the campaign needs is a namespace and an application of
the tests. Both are alike, so that one shows what the other would have done unattacked.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from tests.cluster.support.generic_server import Server, self_signed
from tests.cluster.support.harness import environment, migrate
from tests.cluster.support.processes import ROOT, Process, Redis, free_port, wait_until

UNHANDLED = re.compile(r'Traceback|"traceback"|"level": "CRITICAL"|never retrieved|Task was destroyed')
SHOWN = 400  # characters of a log's line
WARM = ("/health/live", "/nowhere", "/admin/login/", "/static/realtime/demo.js", "/http/host", "/generic/request")
OPEN: dict[str, Any] = {
    "history_size": 10,
    "history_ttl": "1m",
    "allow_subscribe_for_client": True,
}
CONFIG: dict[str, Any] = {"namespaces": {"open": OPEN}}


class Balancer(Process):
    """The HAProxy of `deploy/haproxy.cfg` before one instance, word for word but for addresses."""

    def __init__(self, home: Path, behind: int) -> None:
        super().__init__("haproxy", home)
        self.port = free_port()
        self._behind = behind

    def start(self) -> None:
        """Start it and wait until it gives an answer of the instance."""
        path = self.home / "haproxy.cfg"
        path.write_text(configured(self.port, self._behind))
        self.spawn(["haproxy", "-db", "-f", str(path)], {"PATH": os.environ["PATH"]})
        wait_until(lambda: not self.running or answers(self.port), "the balancer has found its instance")
        assert self.running, self.tail()


def configured(port: int, behind: int) -> str:
    """The shipped configuration with one server at a port of this machine."""
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    text = re.sub(r"^resolvers .*?(?=^frontend)", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r" resolvers docker init-addr none", "", text)
    text = re.sub(r"^ *server backend[^1].*\n", "", text, flags=re.MULTILINE)
    text = text.replace("backend1:8000", f"127.0.0.1:{behind}").replace("bind :8000", f"bind 127.0.0.1:{port}")
    return text.replace("bind :8404", f"bind 127.0.0.1:{free_port()}")


def answers(port: int) -> bool:
    """Whether readiness is told there."""
    done = subprocess.run(
        ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", f"http://127.0.0.1:{port}/health/ready"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return done.stdout == "200"


class Ground:
    """Everything that runs. `attacked` and `other` are the instances; `port` is where the attacked one is reached."""

    def __init__(self, home: Path, behind: str = "", **more: str) -> None:
        self._home = home
        self._behind = behind
        self._more = (
            {"HTTP_MAX_BODY_PATHS": "/generic/sink=2GB"}
            | more
            | ({"RATE_LIMIT_TRUSTED_PROXIES": "127.0.0.1"} if behind else {})
        )
        self.redis = Redis(home, "no")
        certificate = self_signed(home)
        self.attacked = self._instance("attacked", certificate)
        self.other = self._instance("other", certificate)
        self.balancer = Balancer(home, self.attacked.port) if behind else None
        self._read = 0

    def _instance(self, name: str, certificate: Path) -> Server:
        env = environment(self._home, self.redis.url, CONFIG, **self._more)
        made = Server(name, self._home, env, certificate=certificate)
        made.metrics_port = int(env["METRICS_PORT"])  # type: ignore[attr-defined]
        return made

    @property
    def port(self) -> int:
        """Where attackers and witnesses find the attacked instance."""
        return self.balancer.port if self.balancer else self.attacked.port

    def start(self) -> None:
        """Start everything and wait until it is ready."""
        try:
            self.redis.start()
            migrate(self.attacked._env)
            for instance in (self.attacked, self.other):
                instance.start()
            self._warm()
            if self.balancer:
                self.balancer.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything."""
        for process in filter(None, (self.balancer, self.attacked, self.other, self.redis)):
            try:
                process.stop()
            except AssertionError as error:
                print(str(error).splitlines()[0], file=sys.stderr)

    def renew(self) -> None:
        """Start the attacked instance again, so that an attack finds none of what the one before has left."""
        try:
            self.attacked.stop()
        except AssertionError:
            pass  # it was killed
        self.attacked.start()
        self._warm()
        wait_until(lambda: answers(self.port), "it is reached again")

    def _warm(self) -> None:
        """What every process loads with its first requests is no growth."""
        urls = [f"{self.attacked.http}{path}" for path in WARM * 3]
        subprocess.run(
            ["curl", "-s", *(word for url in urls for word in ("-o", os.devnull, url))], timeout=60, check=False
        )

    # What there is to see of the attacked instance

    def memory(self) -> float:
        """Resident megabytes."""
        try:
            return psutil.Process(self.attacked.pid).memory_info().rss / 2**20
        except psutil.Error:
            return 0.0

    def connections(self) -> int:
        """The sockets that clients have at it, or at the balancer, which keeps its own to the instance for a while."""
        ports = (
            {self.balancer.port}
            if self.balancer
            else {self.attacked.port, self.attacked.tls_port, self.attacked.metrics_port}
        )  # type: ignore[attr-defined]
        found: Counter[str] = Counter()
        with open("/proc/net/tcp") as table:
            for line in table.readlines()[1:]:
                fields = line.split()
                if int(fields[1].partition(":")[2], 16) in ports and fields[3] != "0A":
                    found[fields[3]] += fields[9] != "0"  # those of a process; what the kernel keeps has no inode
        return sum(found.values())

    def threads(self) -> int:
        """Its threads."""
        try:
            return psutil.Process(self.attacked.pid).num_threads()
        except psutil.Error:
            return 0

    def news(self) -> list[str]:
        """The lines that tell of something unhandled since the last look."""
        with self.attacked.log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        return [line[:SHOWN] for line in data.decode(errors="replace").splitlines() if UNHANDLED.search(line)]


def waited(pid: int) -> float:
    """Seconds that the first thread of a process was ready to run and had no processor."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def can_balance() -> bool:
    """Whether HAProxy is here."""
    return shutil.which("haproxy") is not None
