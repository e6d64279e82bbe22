"""Redis servers over TCP as people run them: with TLS, passwords, replicas and sentinels, over IPv4 and IPv6."""

import contextlib
import random
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.waiting import wait_until

DEADLINE = 20.0
NO_RETRY = Retry(NoBackoff(), 0)  # nobody waits several times for a server that hangs
MASTER = "mymaster"
GUARD = "guard"


def has_ipv6() -> bool:
    """Whether this machine has a loopback address of IPv6."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as tried:
        tried.bind(("::1", 0))
        return True
    return False


def free_port(host: str) -> int:
    """A port nobody listens on, below those the system gives to outgoing connections, so that it stays free."""
    while True:
        port = random.SystemRandom().randint(12_000, 32_000)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried, contextlib.suppress(OSError):
            tried.bind((host, port))
            return port


class Certificates:
    """An authority of the test's own, and certificates by it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.ca = folder / "ca.pem"
        self._key("ca")
        subject = ["-subj", "/CN=authority"]
        self._openssl("req", "-x509", "-new", "-key", "ca.key", "-days", "2", *subject, "-out", "ca.pem")

    def signed(self, name: str, names: str = "IP:127.0.0.1,IP:::1,DNS:localhost") -> tuple[Path, Path]:
        """A certificate for these names, and its key."""
        self._key(name)
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        self._openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext"]
        self._openssl("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _key(self, name: str) -> None:
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    @cached_property
    def server(self) -> tuple[Path, Path]:
        return self.signed("server")

    @cached_property
    def client(self) -> tuple[Path, Path]:
        return self.signed("client", "DNS:client")

    def options(self) -> dict[str, str]:
        """What a server needs; it wants a certificate of its clients too."""
        cert, key = self.server
        files = {"tls-cert-file": cert, "tls-key-file": key, "tls-ca-cert-file": self.ca}
        return {name: str(path) for name, path in files.items()} | {"tls-auth-clients": "yes"}

    @property
    def query(self) -> str:
        """What an address needs."""
        cert, key = self.client
        return f"ca={self.ca}&cert={cert}&key={key}"


@dataclass
class Server:
    """One redis-server, or one sentinel. `options` and `lines` are its configuration."""

    folder: Path
    host: str = "127.0.0.1"
    options: dict[str, str] = field(default_factory=dict)
    lines: Sequence[str] = ()
    tls: Certificates | None = None
    user: str = ""
    password: str = ""
    sentinel: bool = False
    check_hostname: bool = True
    port: int = 0  # one that is free
    program: str = "redis-server"
    at_once: bool = True  # started when it is made

    def __post_init__(self) -> None:
        self.port = self.port or free_port(self.host)
        self._process: subprocess.Popen[bytes] | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = {"port": self.port} if self.tls is None else {"port": 0, "tls-port": self.port}
        options = {"bind": self.host, "dir": self.folder, "logfile": self.folder / "log", **ports}
        if self.tls is not None:
            options |= self.tls.options()
        if not self.sentinel:
            options |= {"save": '""', "appendonly": "no", "repl-diskless-sync-delay": "0"}
        options |= self.options
        lines = [f"{name} {value}" for name, value in options.items()] + list(self.lines)
        (self.folder / "conf").write_text("\n".join(lines) + "\n")
        if self.at_once:
            self.start()

    def start(self, wait: bool = True) -> None:
        """Start it, and wait until it answers unless that is not wanted."""
        words = [self.program, str(self.folder / "conf"), *(["--sentinel"] if self.sentinel else [])]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if wait:
            wait_for(lambda: self.ask("PING"), f"a server that answers: {(self.folder / 'log')}")

    def is_master(self) -> bool:
        """Whether it takes writes."""
        return bool(self.ask("ROLE")[0] == b"master")

    def ask(self, *command: Any) -> Any:
        """Run one command beside everything that is tested."""
        tls: dict[str, Any] = {}
        if self.tls is not None:
            cert, key = self.tls.client
            tls = {"ssl": True, "ssl_ca_certs": str(self.tls.ca), "ssl_certfile": str(cert), "ssl_keyfile": str(key)}
            tls["ssl_check_hostname"] = self.check_hostname
        login = {"username": self.user or None, "password": self.password or None}
        with redis.Redis(
            host=self.host, port=self.port, protocol=2, socket_timeout=5, retry=NO_RETRY, **login, **tls
        ) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    @property
    def at(self) -> str:
        """Its place in an address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without any clean-up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Fleet:
    """A master, its replicas and its sentinels."""

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        tls: Certificates | None = None,
        password: str = "",
        sentinel_password: str = "",
        replicas: int = 2,
        sentinels: int = 3,
        sentinel_lines: Sequence[str] = (),
        options: dict[str, str] | None = None,
        guarded: bool = False,
    ) -> None:
        """`options`: of the servers. `guarded`: replicas and sentinels are a user of their own, `GUARD`, whom a server
        can lock out (`cut_off`): it is cut off from them then, and not from its clients."""
        self._sentinel_lines = sentinel_lines
        self.guarded = guarded
        password = password or ("word" if guarded else "")
        self.tls, self.password, self.sentinel_password = tls, password, sentinel_password
        own = {"requirepass": password, "masterauth": password} if password else {}
        own |= {} if tls is None else {"tls-replication": "yes"}
        own |= {"masteruser": GUARD, "user": f"{GUARD} on >{password} ~* &* +@all"} if guarded else {}
        own |= options or {}
        self.all: list[Server] = []
        try:
            for number in range(1 + replicas):
                more = {"replicaof": f"{host} {self.all[0].port}"} if self.all else {}
                name = folder / f"redis-{number}"
                self.all.append(Server(name, host, {**own, **more}, tls=tls, password=password))
            self.servers = list(self.all)
            wait_for(lambda: self._in_step() == replicas, "replicas in step")
            self.sentinels = [self._sentinel(folder / f"sentinel-{n}", host) for n in range(sentinels)]
            wait_for(lambda: all(self._knows(one, replicas, sentinels) for one in self.sentinels), "sentinels in step")
        except BaseException:
            self.close()
            raise

    def _sentinel(self, folder: Path, host: str) -> Server:
        lines = [
            f"sentinel monitor {MASTER} {host} {self.servers[0].port} 2",
            f"sentinel down-after-milliseconds {MASTER} 1000",
            f"sentinel failover-timeout {MASTER} 5000",
        ]
        if self.password:
            lines.append(f"sentinel auth-pass {MASTER} {self.password}")
        if self.guarded:
            lines.append(f"sentinel auth-user {MASTER} {GUARD}")
        if self.sentinel_password:
            lines += [f"requirepass {self.sentinel_password}", f"sentinel sentinel-pass {self.sentinel_password}"]
        if self.tls is not None:
            lines.append("tls-replication yes")
        lines += self._sentinel_lines
        made = Server(folder, host, lines=lines, tls=self.tls, password=self.sentinel_password, sentinel=True)
        self.all.append(made)
        return made

    def _in_step(self) -> int:
        return int(self.servers[0].ask("INFO", "replication").count(b"state=online"))

    def _knows(self, sentinel: Server, replicas: int, sentinels: int) -> bool:
        found = self.facts(sentinel)
        return (int(found[b"num-slaves"]), int(found[b"num-other-sentinels"])) == (replicas, sentinels - 1)

    def facts(self, sentinel: Server) -> dict[bytes, bytes]:
        """What a sentinel knows of the master."""
        found = sentinel.ask("SENTINEL", "MASTER", MASTER)
        return dict(zip(found[::2], found[1::2], strict=True))

    def master(self) -> Server:
        """The server that the first sentinel calls the master."""
        _, port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return next(server for server in self.servers if server.port == int(port))

    def cut_off(self, server: Server) -> None:
        """From now on its replicas and the sentinels cannot reach it; clients can."""
        server.ask("ACL", "SETUSER", GUARD, "off")
        server.ask("CLIENT", "KILL", "USER", GUARD)

    def reach_again(self, server: Server) -> None:
        """The end of `cut_off`."""
        server.ask("ACL", "SETUSER", GUARD, "on")

    def fail_over(self) -> None:
        """Have the first sentinel promote a replica."""
        self.sentinels[0].ask("SENTINEL", "FAILOVER", MASTER)

    def _known_as_replicas(self, sentinel: Server) -> bool:
        """Whether a sentinel has seen what the last failover made of the others. Until then it may take the next one's
        new master for one that is to be a replica, as it was when it looked last."""
        told = [dict(zip(one[::2], one[1::2], strict=True)) for one in sentinel.ask("SENTINEL", "REPLICAS", MASTER)]
        return all((one[b"role-reported"], one[b"flags"]) == (b"slave", b"slave") for one in told)

    def whole(self) -> bool:
        """Whether every sentinel is ready for another failover, and every replica in step."""
        if not all(self._known_as_replicas(one) for one in self.sentinels):
            return False
        masters = {self.facts(one)[b"port"] for one in self.sentinels}
        calm = all(self.facts(one)[b"flags"] == b"master" for one in self.sentinels)
        others = [server for server in self.servers if server is not self.master()]
        return len(masters) == 1 and calm and all(b"link_status:up" in one.ask("INFO", "replication") for one in others)

    @property
    def url(self) -> str:
        """The address of the master."""
        login = f":{self.password}@" if self.password else ""
        options = [f"sentinel_password={self.sentinel_password}"] if self.sentinel_password else []
        options += ["tls=1", self.tls.query] if self.tls is not None else []
        hosts = ",".join(sentinel.at for sentinel in self.sentinels)
        return f"redis+sentinel://{login}{hosts}/{MASTER}/0?{'&'.join(options)}".removesuffix("?")

    def close(self) -> None:
        """End all of them."""
        for server in self.all:
            server.kill()


def wait_for(condition: Any, what: str, within: float = DEADLINE) -> Any:
    """Wait until `condition` says something true; a server that does not answer yet is none."""

    def found() -> Any:
        with contextlib.suppress(redis.RedisError, OSError):
            return condition()

    return wait_until(found, what, within, every=0.05)
