"""Each procedure of docs/OPERATIONS.md on a real installation, under load: nobody loses anything.

The stack of docker-compose.yml has its own (tests/compose/procedures.py).
"""

import asyncio
import json
import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.support.balancer import SHIPPED, any_certificate, here
from tests.cluster.support.generic_server import self_signed
from tests.cluster.support.harness import ready
from tests.cluster.support.processes import Process, eventually, free_port, wait_until
from tests.cluster.support.raw_client import RawClient, token
from tests.deploy.installation import FIRST, Crowd, Guest, Installation, admin, copy_of_the_code
from tests.host.support.postgres import Postgres, a_postgres, programs

pytestmark = [pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with a_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """On SQLite; each test leaves it whole."""
    made = Installation(tmp_path_factory.mktemp("installation"))
    made.start()
    yield made
    made.stop()


async def refusal(at: Installation, **credentials: str) -> str:
    """Why a client with these is not let in; "" where it is."""
    guest = Guest(at.url, "proof:look", session=credentials.get("session", ""))
    guest.token = (lambda: credentials["token"]) if "token" in credentials else None
    running = asyncio.create_task(guest.run())
    try:
        while not (guest.ready.is_set() or guest.refusals):
            await asyncio.sleep(0.02)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return "" if guest.ready.is_set() else guest.refusals[0]


async def run(at: Installation, name: str, *words: str, **more: str) -> str:
    return await asyncio.to_thread(at.procedure, name, *words, **more)


def api_status(at: Installation, key: str) -> int:
    """How the HTTP API answers to a key."""
    request = urllib.request.Request(f"{at.http}/api/info", b"{}", {"X-API-Key": key})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


async def test_a_restart_replaces_every_instance(installation: Installation) -> None:
    before = set(installation.pids().values())
    async with Crowd(installation) as crowd:
        await run(installation, "restart")
        assert before.isdisjoint(installation.pids().values())
        await eventually(lambda: crowd.reconnects() >= len(crowd.guests), "everybody came back", 60)


async def test_an_instance_is_added_and_taken_away(installation: Installation) -> None:
    async with Crowd(installation):
        await run(installation, "add-instance")
        assert set(installation.pids()) == {"unit-0", "unit-1", "unit-2"}
        await run(installation, "remove-instance")
        assert set(installation.pids()) == {"unit-0", "unit-1"}


async def test_a_token_secret_is_replaced(installation: Installation) -> None:
    """Old tokens count until the end, and new ones from the moment they are made."""
    old = token("ann", installation.secret("token_secret"))
    async with Crowd(installation):
        await run(installation, "rotate-secret", "token_secret", "begin")
        assert await refusal(installation, token=old) == ""
        assert installation.secret("token_secret") not in ("", FIRST["token_secret"])
    await run(installation, "rotate-secret", "token_secret", "end")
    assert "3500" in await refusal(installation, token=old)
    assert await refusal(installation, token=token("ann", installation.secret("token_secret"))) == ""


async def test_the_secret_key_is_replaced(installation: Installation) -> None:
    """Sessions count until the end; one that was used meanwhile, for pages, counts after it too."""
    unused, page = installation.session(), installation.session()
    async with Crowd(installation):
        await run(installation, "rotate-secret", "secret_key", "begin")
        assert await refusal(installation, session=unused) == ""
        status, renewed = admin(installation.http, page)
        assert status == 200 and renewed not in ("", page)
    await run(installation, "rotate-secret", "secret_key", "end")
    assert await refusal(installation, session=unused) != ""
    assert await refusal(installation, session=renewed) == ""
    assert admin(installation.http, renewed)[0] == 200


async def test_an_api_key_is_replaced(installation: Installation) -> None:
    old = installation.api_key()
    async with Crowd(installation):
        await run(installation, "rotate-secret", "api_keys", "begin")
        new = installation.api_key()
        assert new != old and api_status(installation, old) == api_status(installation, new) == 200
        await run(installation, "rotate-secret", "api_keys", "end")
    assert (api_status(installation, old), api_status(installation, new)) == (401, 200)


async def test_the_password_of_redis_is_replaced(installation: Installation) -> None:
    """It outlasts Redis's own restart, and the old one does not count any more."""
    redis = installation.redis
    more = {"REDIS_CLI": f"redis-cli -p {redis.port} --no-auth-warning"}
    async with Crowd(installation) as crowd:
        await run(installation, "rotate-redis-password", "begin", REDISCLI_AUTH=FIRST["redis_password"], **more)
        new = installation.secret("redis_url").partition("@")[0].rpartition(":")[2]
        assert redis.answer(new, "PING") == redis.answer(FIRST["redis_password"], "PING") == "PONG"
        await run(installation, "rotate-redis-password", "end", REDISCLI_AUTH=new, **more)
        assert redis.answer(FIRST["redis_password"], "PING").startswith("NOAUTH")
        await crowd.goes_on(20)  # for seconds: nobody expects those that were replaced to compare what they knew
        await asyncio.to_thread(redis.stop)
        await asyncio.to_thread(redis.start)
    await eventually(lambda: redis.answer(new, "PING") == "PONG", "it has read its data", 60)
    assert installation.secret_file("redis_url").stat().st_mode & 0o077 == 0


NOBODY = "from django.contrib.auth.models import User; User.objects.all().delete()"


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_backup_brings_back_what_was_there(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Taken under load; put back into an installation that has lost its secrets and everybody in it."""
    database = ""
    if engine == "postgres":
        server = request.getfixturevalue("postgres")
        database = f"postgres://bazaar@{server.address}/bazaar"
        monkeypatch.setenv("PATH", f"{programs()}:{os.environ['PATH']}")
    at = Installation(tmp_path, database=database)
    at.start()
    try:
        async with Crowd(at):
            kept = at.session()
            await run(at, "backup", "monday.tar")
        backup = tmp_path / "monday.tar"
        assert backup.stat().st_mode & 0o077 == 0
        at.run("shell", "--verbosity", "0", "-c", NOBODY)
        with pytest.raises(AssertionError, match="instances run"):
            await run(at, "restore", "monday.tar")
        assert await refusal(at, session=kept) != "", "ann is gone, and what was refused has changed nothing"
        pid = at.pid
        await asyncio.to_thread(at.end)
        for name in FIRST:
            if name != "redis_password":
                at.secret_file(name).unlink()
        at.procedure("restore", "monday.tar", SERVE_PID=str(pid))
        assert at.secret_file("token_secret").read_text() == FIRST["token_secret"]
        await asyncio.to_thread(at.serve)
        assert await refusal(at, session=kept) == ""
        async with Crowd(at):
            pass
    finally:
        at.stop()


async def test_an_upgrade_replaces_the_code_and_migrates_under_load(tmp_path: Path) -> None:
    folder = copy_of_the_code(tmp_path / "code")
    at = Installation(tmp_path, folder=folder)
    at.start()
    try:
        async with Crowd(at):
            before = at.nodes()
            (folder / "flotilla" / "version.py").write_text('"""The next one."""\n\nVERSION = "99.1"\n')
            migration = folder / "realtime" / "migrations" / "9999_next.py"
            migration.write_text(MIGRATION.format(before=last_migration(folder)))
            await run(at, "upgrade")
            rows = json.loads(at.run("instances", "--json"))["instances"]
            assert {row["version"] for row in rows if not row["draining"]} == {"99.1"}
            assert {node["version"] for node in before} != {"99.1"}
            assert "[X] 9999_next" in at.run("showmigrations", "flotilla_realtime")
    finally:
        at.stop()


MIGRATION = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("flotilla_realtime", "{before}")]
    operations = [migrations.RunSQL("CREATE TABLE next_version (id integer)", migrations.RunSQL.noop)]
"""


def last_migration(folder: Path) -> str:
    return max(path.stem for path in (folder / "realtime" / "migrations").glob("0*.py"))


async def test_a_certificate_is_renewed_and_no_connection_ends(installation: Installation, tmp_path: Path) -> None:
    if shutil.which("haproxy") is None:
        pytest.skip("no haproxy on the PATH")
    folder = tmp_path / "tls"
    folder.mkdir()
    pem = folder / "site.pem"
    shutil.copy(self_signed(tmp_path), pem)
    port, tls = free_port(), free_port()
    config = tmp_path / "haproxy.cfg"
    text = here(SHIPPED.read_text(), port, free_port(), [installation.port])
    config.write_text(text.replace("bind :8443", f"bind 127.0.0.1:{tls}"))
    haproxy, admin_socket = Process("haproxy", tmp_path), tmp_path / "admin"
    env = installation.env | {"TLS_CERTIFICATES": str(folder), "HAPROXY_ADMIN": str(admin_socket)}
    haproxy.spawn(["haproxy", "-db", "-f", str(config)], env)
    anything = any_certificate()
    try:
        wait_until(lambda: ready(f"https://127.0.0.1:{tls}", anything), "the balancer serves")
        first = ssl.get_server_certificate(("127.0.0.1", tls))
        async with RawClient(f"wss://127.0.0.1:{tls}/connection/websocket", ssl=anything) as client:
            await client.connect(token=token("ann", installation.secret("token_secret")))
            shutil.copy(self_signed(tmp_path), pem)
            await run(installation, "renew-certificate", TLS_CERTIFICATES=str(folder), HAPROXY_ADMIN=str(admin_socket))
            second = ssl.get_server_certificate(("127.0.0.1", tls))
            assert second != first and second.strip() in pem.read_text()
            await client.round_trip()
    finally:
        haproxy.stop()
