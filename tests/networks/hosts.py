"""What the faults of networks are made on: three instances, HAProxy as shipped, Redis and PostgreSQL, each on a host.

Clients are on a host too, which is this process's: they come to the instances through the balancer alone. Whoever
judges asks the instances over interfaces of their own, which no fault touches.
"""

import asyncio
import pwd
import re
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.log import Log
from tests.chaos.wire import Place
from tests.chaos.world import Store, World
from tests.cluster.support.balancer import SHIPPED
from tests.cluster.support.harness import Instance, environment, manage
from tests.cluster.support.processes import Process, wait_until
from tests.host.support.postgres import Postgres, programs
from tests.networks.namespaces import Network
from tests.networks.switch import Switch

INSTANCES = 3  # as many as the shipped configuration has
CLIENTS, BALANCER, REDIS, DATABASE = "clients", "balancer", "redis", "database"
APPS = tuple(f"app{number}" for number in range(INSTANCES))
HOSTS = (CLIENTS, BALANCER, REDIS, DATABASE, *APPS)
PORT = 8000  # of the balancer and of each instance
METRICS_PORT = 9400
ESTABLISHED = "01"


class RemoteInstance(Instance):
    """An instance on a host of its own; `http` is where those ask who judge."""

    listens_at = "0.0.0.0"

    def __init__(self, name: str, home: Path, env: dict[str, str], network: Network, on: str) -> None:
        super().__init__(name, home, env)
        self.port = PORT
        self.host = network.managed[on]
        self.within = network.within(on)


class RemoteStore(Store):
    """A Redis on a host of its own."""

    def __init__(self, home: Path, network: Network) -> None:
        super().__init__(home, REDIS)
        self.port = 6379
        self.host = network.managed[REDIS]
        self.within = network.within(REDIS)
        self.address = network.addresses[REDIS]

    def spawn(self, command: list[str], *more: Any) -> None:
        """Start it, on all its addresses."""
        super().spawn([*command, "--bind", "0.0.0.0", "--protected-mode", "no"], *more)


class RemotePostgres(Postgres):
    """A PostgreSQL on a host of its own."""

    listens_at = "*"

    def __init__(self, home: Path, folder: Path, network: Network) -> None:
        super().__init__(home, folder)
        self.port = 5432
        self.host = network.managed[DATABASE]
        self.address = f"{network.addresses[DATABASE]}:{self.port}"
        self.within = network.within(DATABASE)
        if self._user is not None:  # it does not run as root
            who = pwd.getpwnam(self._user)
            self.within += ("setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups")

    def _make(self) -> None:
        super()._make()
        with (self._data / "pg_hba.conf").open("a") as access:
            access.write("host all all 10.0.0.0/8 trust\n")


class RemoteBalancer(Process):
    """HAProxy as it is shipped, but for the addresses of the instances."""

    def __init__(self, home: Path, network: Network) -> None:
        super().__init__("haproxy", home)
        self.within = network.within(BALANCER)
        self.host = network.managed[BALANCER]
        self._path = home / "haproxy.cfg"
        text = SHIPPED.read_text().replace(" resolvers docker init-addr none", "")
        for number, app in enumerate(APPS, 1):
            text = re.sub(rf"(server backend{number}) backend{number}:", rf"\1 {network.addresses[app]}:", text)
        self._path.write_text(text)

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.spawn(["haproxy", "-db", "-f", str(self._path)])
        wait_until(lambda: not self.running or self.alive(), "the balancer serves")
        assert self.running, self.tail()

    def alive(self) -> bool:
        """Whether it has found an instance that is ready."""
        try:
            with socket.create_connection((self.host, 8404), timeout=2) as connection:
                connection.sendall(b"GET /alive HTTP/1.0\r\n\r\n")
                return b" 200 " in connection.recv(64)
        except OSError:
            return False


class Hosts(World):
    """All of it. `start` before anything else, `stop` whatever happened; then `switch` is where the faults are made."""

    def __init__(self, home: Path, log: Log, config: dict[str, Any]) -> None:
        super().__init__(home, log, config, INSTANCES, shards=0)
        self.network = Network(HOSTS)
        self.switch = Switch(self.network)
        self._balancer: RemoteBalancer | None = None
        self._postgres: RemotePostgres | None = None

    async def start(self) -> None:
        """Start everything and wait until it is ready. This process is among the clients from then on."""
        self.network.build()
        self.switch.start()
        self.network.enter(CLIENTS)  # before there is any thread
        store = RemoteStore(self.home, self.network)
        self.stores.append(store)
        await asyncio.to_thread(store.start)
        folder = programs()
        assert folder is not None, missing_programs()
        self._postgres = RemotePostgres(self.home, folder, self.network)
        await asyncio.to_thread(self._postgres.start)
        trusted = self.network.addresses[BALANCER]
        more = {"RATE_LIMIT_TRUSTED_PROXIES": trusted, "DJANGO_ALLOWED_HOSTS": "*"}
        more |= {"DATABASE_URL": self._postgres.url, "METRICS_HOST": "0.0.0.0", "METRICS_PORT": str(METRICS_PORT)}
        env = environment(self.home, f"redis://{store.address}:{store.port}", self._config, **more)
        for number, app in enumerate(APPS):
            instance = RemoteInstance(f"instance-{number}", self.home, env, self.network, app)
            if not number:
                await asyncio.to_thread(manage, env, "migrate", "--verbosity", "0")
            self.instances.append(instance)
            self.launch(number)
        for instance in self.instances:
            await asyncio.to_thread(instance.wait_ready)
        self._balancer = RemoteBalancer(self.home, self.network)
        await asyncio.to_thread(self._balancer.start)

    async def stop(self) -> list[str]:
        """End everything; returns what did not end in time."""
        try:
            late = await super().stop()
            if self._balancer is not None:
                self._balancer.send(signal.SIGKILL)
                self._balancer.wait()
            if self._postgres is not None:
                await asyncio.to_thread(self._postgres.stop)
            await asyncio.to_thread(self.switch.stop)
        finally:
            await asyncio.to_thread(self.network.remove)
        return late

    def entrance(self, number: int) -> Place:
        """The balancer: which instance a client comes to is not its own choice."""
        return self.network.addresses[BALANCER], PORT

    def direct(self, number: int) -> Callable[[], Place]:
        """An instance's other interface, which no fault touches."""
        return lambda: (self.instances[number].host, PORT)

    def busiest(self) -> int:
        """The instance that has the most clients."""
        return max(range(INSTANCES), key=lambda number: self._clients(self.instances[number]))

    def targets(self) -> list[str]:
        """Where Prometheus asks each instance."""
        return [f"{self.network.managed[app]}:{METRICS_PORT}" for app in APPS]

    def disturb_all(self) -> None:
        """From now on nobody can expect an answer at once."""
        for number in range(INSTANCES):
            self.disturb(number)

    def undisturb_all(self) -> None:
        """They can again, from now on."""
        for number in range(INSTANCES):
            self.undisturb(number)

    def _clients(self, instance: Instance) -> int:
        """How many connections there are to an instance: nobody else is on its host."""
        rows = [line.split() for line in Path(f"/proc/{instance.pid}/net/tcp").read_text().splitlines()[1:]]
        return sum(int(row[1].split(":")[1], 16) == PORT and row[3] == ESTABLISHED for row in rows)


def missing_programs() -> str:
    """What a campaign needs and this machine has not; empty when it has all."""
    missing = [name for name in ("haproxy", "redis-server", "setpriv") if shutil.which(name) is None]
    missing += ["initdb"] if programs() is None else []
    return f"needs {' and '.join(missing)} on the PATH" if missing else ""
