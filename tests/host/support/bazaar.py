"""The running bazaar: two instances under `manage.py serve`, as in production but for TLS, and the people in it."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

from tests.cluster.support.processes import READY_WITHIN, Process, eventually, free_port, wait_until
from tests.cluster.support.raw_client import RawClient
from tests.host.support.installation import Finished, Project
from tests.host.support.visitor import Visitor

PASSWORD = "a password of the bazaar"
ANN, BOB, CHIEF = (f"{name}@bazaar.example" for name in ("ann", "bob", "chief"))
PEOPLE = f"""
from accounts.models import User
from store.models import Product
for email in ("{ANN}", "{BOB}"):
    User.objects.create_user(email, "{PASSWORD}")
User.objects.create_superuser("{CHIEF}", "{PASSWORD}")
Product.objects.create(name="lamp")
import json
print(json.dumps({{user.email: str(user.pk) for user in User.objects.all()}}))
"""


class Bazaar(Process):
    """The project with its processes. `http` is its address."""

    def __init__(self, project: Project, redis: str, database: dict[str, str], jwks: str) -> None:
        super().__init__("serve", project.home.parent)
        self.port = free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        self.url = f"ws://127.0.0.1:{self.port}/connection/websocket"
        self.api_key = secrets.token_hex(16)
        self.users: dict[str, str] = {}
        self.project = project.under(
            "bazaar.settings.staging",
            BAZAAR_API_KEY=self.api_key,
            BAZAAR_BEHIND_TLS="0",
            BAZAAR_JWKS=jwks,
            BAZAAR_METRICS_PORT=str(free_port()),
            BAZAAR_REDIS=redis,
            BAZAAR_SECRET_KEY=secrets.token_hex(32),
            **database,
        )

    def start(self) -> None:
        """Migrate, make people, serve, and wait until both instances are ready."""
        self.project.manage("collectstatic", "--noinput", "--verbosity", "0")
        self.project.manage("migrate", "--noinput", "--verbosity", "0")
        self.users = json.loads(self.project.manage("shell", "--verbosity", "0", "-c", PEOPLE).splitlines()[-1])
        self.launch(self, "serve", "--instances", "2", "--port", str(self.port))
        try:
            wait_until(lambda: not self.running or len(self.instances()) == 2, "both instances serve")
            assert self.running, f"serve ended with {self.exit_code}"
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def launch(self, process: Process, *words: str) -> None:
        """Start a management command that goes on."""
        process.spawn(self.project.words("python", "manage.py", *words), self.project.environment, self.project.home)

    def instances(self) -> set[str]:
        """The instances that were met in some requests."""
        anybody = Visitor(self.http)
        found = set()
        for _ in range(16):
            with contextlib.suppress(OSError):
                answer = anybody.get("/health/ready")
                if answer.status == 200:
                    found.add(answer.json["instance"])
        return found

    def visitor(self, email: str) -> Visitor:
        """Somebody who has logged in on the bazaar's own page."""
        somebody = Visitor(self.http)
        assert somebody.fill("/login/", username=email, password=PASSWORD).path == "/orders/"
        return somebody

    def tokens(self, email: str) -> dict[str, str]:
        """What SimpleJWT gives: `access` and `refresh`."""
        answer = Visitor(self.http).post("/api/token/", {"email": email, "password": PASSWORD})
        assert answer.status == 200, answer
        return dict(answer.json)

    def program(self, email: str) -> Visitor:
        """A program that calls the bazaar's API with a token."""
        return Visitor(self.http, Authorization=f"Bearer {self.tokens(email)['access']}")

    def order(self, email: str = ANN) -> int:
        """The id of a new order."""
        answer = self.program(email).post("/api/orders/", {"product": 1})
        assert answer.status == 201, answer
        return int(answer.json["id"])

    def channel(self, email: str = ANN) -> str:
        """Where somebody's orders are announced."""
        return f"orders:#{self.users[email]}"

    @contextlib.asynccontextmanager
    async def watching(self, email: str = ANN) -> AsyncIterator[RawClient]:
        """Somebody whose page is open: connected by the session, subscribed to the orders."""
        somebody = await asyncio.to_thread(self.visitor, email)
        async with RawClient(self.url, additional_headers=somebody.handshake) as client:
            await client.connect()
            await client.subscribe(self.channel(email))
            yield client

    async def announced(self, client: RawClient, order: int, by: str, email: str = ANN) -> None:
        """Wait until a page was told of a change of an order."""
        channel = self.channel(email)

        def fits(message: dict[str, Any]) -> bool:
            push = message.get("push", {})
            data = push.get("pub", {}).get("data", {})
            return push.get("channel") == channel and (data.get("order"), data.get("by")) == (order, by)

        await client.wait(fits, f"a publication about order {order} by {by}")

    def run(self, *words: str, within: float = 90.0) -> Finished:
        """Run a management command to its end; one that hangs raises TimeoutExpired."""
        return self.project.run("python", "manage.py", *words, within=within)

    @contextlib.asynccontextmanager
    async def celery(self) -> AsyncIterator[Process]:
        """A Celery worker with two processes of its own, for the time of a block; it must end when it is told to."""
        worker = Process("celery", self.home)
        command = ["python", "-m", "celery", "-A", "bazaar", "worker", "--pool", "prefork", "--concurrency", "2"]
        quiet = ["--without-gossip", "--without-mingle", "--loglevel", "info"]
        worker.spawn(self.project.words(*command, *quiet), self.project.environment, self.project.home)
        try:
            said = lambda: not worker.running or " ready." in worker.log.read_text()  # noqa: E731
            await eventually(said, "Celery is ready", READY_WITHIN)
            assert worker.running, worker.tail()
            yield worker
        finally:
            await asyncio.to_thread(worker.stop)

    def tails(self) -> str:
        """The end of its log, and of what else ran."""
        logs = [path for path in sorted(self.home.glob("*.log")) if path.stat().st_size]
        return "\n".join(f"----- {path.name} -----\n{path.read_text(errors='replace')[-3000:]}" for path in logs)
