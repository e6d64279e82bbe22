"""An installation as production has it, for the procedures of `deploy/procedures`.

`manage.py serve` with every secret in a file, a Redis that asks for a password, and a crowd that publishes and listens.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.cluster.support.harness import Served, manage
from tests.cluster.support.processes import ROOT, Redis, eventually, wait_until
from tests.cluster.support.publisher import Publisher
from tests.cluster.support.raw_client import token
from tests.cluster.support.subscribers import CONFIG, Faults, Subscriber

FIRST = {name: f"the first {name} of this installation" for name in ("secret_key", "token_secret")}
FIRST |= {"api_keys": "the-first-api-key-of-this-installation", "redis_password": "the-first-password"}
VARIABLES = {
    "secret_key": "DJANGO_SECRET_KEY",
    "secret_key_fallbacks": "DJANGO_SECRET_KEY_FALLBACKS",
    "token_secret": "REALTIME_TOKEN_SECRET",
    "token_secret_fallbacks": "REALTIME_TOKEN_SECRET_FALLBACKS",
    "api_keys": "REALTIME_API_KEYS",
    "redis_url": "REDIS_URL",
}
SESSION = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
user, _ = User.objects.get_or_create(username="ann", is_staff=True)
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(session.session_key)
"""
PROCEDURE_WITHIN = 300.0  # seconds


class SecuredRedis(Redis):
    """A Redis that asks its default user for a password, from a file that it can write."""

    def start(self) -> None:
        """Start it and wait until it answers; with its own file, where it has one already."""
        self._data.mkdir(exist_ok=True)
        file = self.home / "redis.conf"
        if not file.exists():
            lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self._data}", "appendonly yes", 'save ""']
            file.write_text("\n".join([*lines, f"requirepass {FIRST['redis_password']}", ""]))
        self.spawn(["redis-server", str(file)])
        wait_until(lambda: not self.running or self.answer("", "PING").startswith("NOAUTH"), "Redis answers")
        assert self.running, self.tail()

    def answer(self, password: str, *words: str) -> str:
        """What it says to somebody with a password ("": without)."""
        env = os.environ | ({"REDISCLI_AUTH": password} if password else {})
        command = ["redis-cli", "-p", str(self.port), "--no-auth-warning", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=20).stdout.strip()


class Installation(Served):
    """`manage.py serve` with secrets in files; `folder` is where its code is, `database` where its data are."""

    ready_within = 240.0

    def __init__(self, home: Path, *, database: str = "", folder: Path = ROOT, instances: int = 2) -> None:
        super().__init__(home, CONFIG | {"admission_rate": 1000, "anonymous": False}, instances)
        self.redis: SecuredRedis = SecuredRedis(home)
        self.folder = folder
        self.secrets = home / "secrets"
        self.secrets.mkdir(mode=0o700)
        for name, text in FIRST.items():
            self.secret_file(name).write_text(text)
        address = f"redis://:{FIRST['redis_password']}@127.0.0.1:{self.redis.port}/0"
        self.secret_file("redis_url").write_text(address)
        for name in ("REDIS_URL", "REALTIME_TOKEN_SECRET", "REALTIME_API_KEYS", "DJANGO_SECRET_KEY"):
            del self.env[name]
        self.env |= {f"{variable}_FILE": str(self.secret_file(name)) for name, variable in VARIABLES.items()}
        self.env |= {"DJANGO_SETTINGS_MODULE": "project.settings", "PYTHONPATH": str(folder), "PYTHON": sys.executable}
        if database:
            self.env["DATABASE_URL"] = database

    def start(self) -> None:
        """Start everything and wait until every instance is ready."""
        self.redis.start()
        self.run("prepare")
        self.serve()

    def serve(self) -> None:
        """Start `manage.py serve`."""
        options = ["--instances", str(self._count), "--host", "127.0.0.1", "--port", str(self.port)]
        self.spawn([sys.executable, "manage.py", "serve", *options], self.env, self.folder)
        try:
            self.wait_complete()
        except BaseException:
            self.stop()
            raise

    def end(self) -> None:
        """End `serve`, and leave Redis."""
        super(Served, self).stop()

    def run(self, *words: str) -> str:
        """A command of manage.py; AssertionError where it fails."""
        return manage(self.env, *words, folder=self.folder)

    def procedure(self, name: str, *words: str, **more: str) -> str:
        """Run a procedure to its end, as an operator does; gives what it said. Raises AssertionError."""
        env = self.env | {"ON": "serve", "SERVE_PID": str(self.pid)} | more
        command = [str(self.folder / "deploy" / "procedures" / f"{name}.sh"), *words]
        done = subprocess.run(command, cwd=self.home, env=env, capture_output=True, text=True, timeout=PROCEDURE_WITHIN)
        said = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{said}\n{self.tail()}"
        return said

    def secret_file(self, name: str) -> Path:
        """Where a secret is."""
        return self.secrets / name

    def secret(self, name: str) -> str:
        """The one that is in use; of API keys the first."""
        return self.secret_file(name).read_text().partition(",")[0]

    def session(self) -> str:
        """A new session of ann's."""
        return self.run("shell", "--verbosity", "0", "-c", SESSION).strip()

    def api_key(self) -> str:
        """The key that callers use now."""
        return self.secret("api_keys")


@dataclass
class Guest(Subscriber):
    """A subscriber with a token, made at each connect, or a session. `refusals`: lasting errors, and final closes."""

    token: Callable[[], str] | None = None
    session: str = ""
    refusals: list[str] = field(default_factory=list)

    def credentials(self) -> dict[str, Any]:
        """The parameters of connect."""
        return {"token": self.token()} if self.token else {}

    def headers(self) -> dict[str, str]:
        """Those of the handshake."""
        origin = self.url.replace("ws", "http", 1).removesuffix("/connection/websocket")
        return {"Cookie": f"sessionid={self.session}", "Origin": origin} if self.session else {}

    def refused(self, message: dict[str, Any]) -> None:
        """An error, or the end of the connection or subscription."""
        if not message.get("error", {}).get("temporary"):
            self.refusals.append(str(message))

    def closed(self, code: int | None) -> None:
        """Told to move, or cut off, is no refusal."""
        if code is not None and (code >= 3500 or code == 1008):
            self.refusals.append(f"closed with {code}")


class Crowd:
    """`async with Crowd(installation) as crowd`: guests with tokens, an old token and a session, in five rooms, and 30
    publications a second. At its end everybody must have all, once and in order, and nobody was refused."""

    def __init__(self, installation: Installation, guests: int = 15) -> None:
        self._at = installation
        self.rooms = [f"proof:{os.urandom(4).hex()}" for _ in range(5)]
        old = token("old", installation.secret("token_secret"))
        session = installation.session()
        ways: list[dict[str, Any]] = [{"token": self._fresh}, {"token": lambda: old}, {"session": session}]
        self.guests = [
            Guest(installation.url, self.rooms[number % 5], **ways[number // 5 % 3]) for number in range(guests)
        ]
        self._publisher = Publisher(installation.http, self.rooms, 30, key=installation.api_key)
        self._tasks: list[asyncio.Task[None]] = []

    def _fresh(self) -> str:
        return token("fresh", self._at.secret("token_secret"))

    async def __aenter__(self) -> "Crowd":
        self._tasks = [asyncio.create_task(guest.run()) for guest in self.guests]
        try:
            await eventually(lambda: all(guest.ready.is_set() for guest in self.guests), "everybody is here", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}: {[(guest.session, guest.refusals[:2]) for guest in self.guests]}") from None
        self._publishing = asyncio.create_task(self._publisher.run())
        await eventually(lambda: all(guest.offset for guest in self.guests), "everybody was reached", 60)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._publisher.enough = True
            await self._publishing
            if error is None:
                await self._nothing_is_lost()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _nothing_is_lost(self) -> None:
        total, faults = self._publisher.published, Faults()
        behind = [guest for guest in self.guests if guest.offset < total[guest.channel]]
        await eventually(
            lambda: all(guest.offset >= total[guest.channel] for guest in behind),
            f"everybody has all: {[guest.refusals[-2:] for guest in behind]}",
            60,
        )
        for guest in self.guests:
            faults.count(guest.offsets, total[guest.channel])
            assert guest.unrecovered == 0
        assert faults == Faults()
        assert [one for guest in self.guests for one in guest.refusals] == []

    async def goes_on(self, publications: int) -> None:
        """Wait until everybody has got so many more, of which six a second come."""
        until = [(guest, guest.offset + publications) for guest in self.guests]
        await eventually(lambda: all(guest.offset >= offset for guest, offset in until), "it goes on", 60)

    def reconnects(self) -> int:
        """How often guests came back, all together."""
        return sum(guest.reconnects for guest in self.guests)


def copy_of_the_code(target: Path) -> Path:
    """A checkout of its own, which a test may change: what the image has in it, and the procedures."""
    ignored = shutil.ignore_patterns("node_modules", "__pycache__", "*.pyc")
    names = (
        "project",
        "flotilla",
        "examples",
        "realtime",
        "presence",
        "ratelimit",
        "monitoring",
        "store",
        "ops",
        "speedups",
    )
    for name in (*names, "deploy"):
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "manage.py", target)
    return target


def admin(http: str, session: str) -> tuple[int, str]:
    """How the admin answers to a session (302: log in), and the session that it gives in its place."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    request = urllib.request.Request(f"{http}/admin/", headers={"Cookie": f"sessionid={session}"})
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=20) as response:
            cookies = SimpleCookie("; ".join(response.headers.get_all("Set-Cookie") or ()))
            return response.status, cookies["sessionid"].value if "sessionid" in cookies else ""
    except urllib.error.HTTPError as error:
        return error.code, ""
