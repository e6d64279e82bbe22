"""The procedures of docs/OPERATIONS.md on the stack, under load: nobody loses anything, and nobody is refused."""

import asyncio
import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.support.balancer import any_certificate
from tests.cluster.support.generic_server import self_signed
from tests.cluster.support.harness import ready
from tests.cluster.support.processes import eventually, free_port, wait_until
from tests.cluster.support.raw_client import RawClient
from tests.cluster.support.subscribers import Faults
from tests.compose.crowd import Crowd
from tests.compose.stack import BACKENDS, Stack
from tests.deploy.installation import SESSION, admin

pytestmark = [pytest.mark.timeout(900)]


class Loaded:
    """`async with Loaded(stack)`: 60 members, 30 publications a second, and at the end nothing is missing."""

    def __init__(self, stack: Stack) -> None:
        self.crowd = Crowd(stack, f"procedure-{time.monotonic_ns()}", rooms=6, members=60, per_second=30)

    async def __aenter__(self) -> Crowd:
        return await self.crowd.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                await self.crowd.all_here()
                assert await self.crowd.faults() == Faults()
                assert self.crowd.unrecovered == 0
        finally:
            await self.crowd.__aexit__(None, None, None)


async def run(stack: Stack, name: str, *words: str, **more: str) -> str:
    return await asyncio.to_thread(stack.procedure, name, *words, **more)


async def test_an_upgrade_replaces_every_instance(stack: Stack, say: Callable[[str], None]) -> None:
    before = {name: stack.started(name) for name in BACKENDS}
    async with Loaded(stack):
        began = time.monotonic()
        await run(stack, "upgrade")
        say(f"upgrade.sh: {time.monotonic() - began:.0f} s")
    assert all(stack.started(name) > before[name] for name in BACKENDS)


async def test_an_instance_is_added_and_taken_away(stack: Stack) -> None:
    async with Loaded(stack) as crowd:
        await run(stack, "add-instance")
        await eventually(lambda: stack.balanced("backend3").up, "it gets clients", within=60)
        async with RawClient(stack.url) as client:
            await client.connect()
        await run(stack, "remove-instance")
        await eventually(lambda: not stack.balanced("backend3").up, "the balancer knows", within=60)
        await crowd.all_here()
    assert "backend3" not in stack.compose("ps", "--all", "--services")


async def test_the_secret_key_is_replaced(stack: Stack) -> None:
    """A session that was used for a page meanwhile goes on; one that was not, ends with the old key."""
    unused, used = session(stack), session(stack)
    async with Loaded(stack):
        await run(stack, "rotate-secret", "secret_key", "begin")
        status, renewed = admin(stack.http, used)
        assert status == 200 and renewed not in ("", used)
        await run(stack, "rotate-secret", "secret_key", "end")
    assert admin(stack.http, renewed)[0] == 200
    assert admin(stack.http, unused)[0] == 302


def session(stack: Stack) -> str:
    """A new session of a member of the staff."""
    words = ["exec", "-T", "backend1", "python", "manage.py", "shell", "--verbosity", "0", "-c", SESSION]
    return stack.compose(*words).strip()


async def test_a_secret_that_is_no_file_is_left_alone(stack: Stack) -> None:
    """This stack has its token secret in a variable."""
    with pytest.raises(AssertionError, match="REALTIME_TOKEN_SECRET itself is set"):
        await run(stack, "rotate-secret", "token_secret", "begin")


async def test_a_backup_brings_back_what_was_there(stack: Stack, tmp_path: Path) -> None:
    backup, kept = tmp_path / "monday.tar", session(stack)
    async with Loaded(stack):
        await run(stack, "backup", str(backup))
    assert backup.stat().st_mode & 0o077 == 0
    words = ["exec", "-T", "backend1", "python", "manage.py", "shell", "-c"]
    stack.compose(*words, "from django.contrib.auth.models import User; User.objects.all().delete()")
    assert admin(stack.http, kept)[0] == 302
    await run(stack, "restore", str(backup))
    stack.heal()
    assert admin(stack.http, kept)[0] == 200
    async with Loaded(stack):
        pass


async def test_what_is_no_backup_leaves_everything_as_it_was(stack: Stack, tmp_path: Path) -> None:
    kept, other = session(stack), tmp_path / "other.tar"
    other.write_text("no backup")
    with pytest.raises(AssertionError, match="this is no backup"):
        await run(stack, "restore", str(other))
    stack.heal()
    assert admin(stack.http, kept)[0] == 200


@pytest.fixture
def certificates(stack: Stack, tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The balancer with TLS: the folder of its certificates, and its port."""
    folder, port = tmp_path / "tls", free_port()
    folder.mkdir()
    renew(folder, tmp_path)
    more = {
        "COMPOSE_FILE": "docker-compose.yml:docker-compose.tls.yml",
        "TLS_CERTIFICATES": str(folder),
        "HTTPS_ADDRESS": f"127.0.0.1:{port}",
    }
    with stack.other_environment(**more):
        stack.compose("up", "--detach", "--no-deps", "--wait", "haproxy")
        yield folder, port
    stack.compose("up", "--detach", "--no-deps", "--wait", "haproxy")


def renew(folder: Path, home: Path) -> None:
    """Another certificate, which HAProxy's own user can read."""
    shutil.copy(self_signed(home), folder / "site.pem")
    for path in (home, folder, folder / "site.pem"):
        os.chmod(path, 0o755)


async def test_a_certificate_is_renewed_and_no_connection_ends(
    stack: Stack, certificates: tuple[Path, int], tmp_path: Path
) -> None:
    folder, port = certificates
    anything = any_certificate()
    wait_until(lambda: ready(f"https://127.0.0.1:{port}", anything), "the balancer serves")
    first = ssl.get_server_certificate(("127.0.0.1", port))
    async with RawClient(f"wss://127.0.0.1:{port}/connection/websocket", ssl=anything) as client:
        await client.connect("ann")
        renew(folder, tmp_path)
        await run(stack, "renew-certificate")
        second = ssl.get_server_certificate(("127.0.0.1", port))
        assert second != first and second.strip() in (folder / "site.pem").read_text()
        await client.round_trip()


def test_the_image_has_the_driver_of_postgresql(stack: Stack) -> None:
    code = "import psycopg; print(psycopg.pq.__impl__)"
    assert stack.compose("exec", "-T", "backend1", "python", "-c", code).strip() == "binary"
