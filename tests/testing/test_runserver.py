"""A first try: `manage.py runserver` without a Redis, a page that publishes, and a client that hears it."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.store.redis_process import until
from tests.testing.projects import ROOT, Project, copied

WITHIN = 60.0  # seconds


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return copied(tmp_path)


@contextlib.contextmanager
def running(project: Project, *command: str) -> Iterator[Path]:
    """A command of manage.py that runs; the file with what it says."""
    log = project.folder / "log"
    environment = {"PYTHONPATH": f"{project.folder}:{ROOT}", "SITE_DEBUG": "1", "PYTHONUNBUFFERED": "1"}
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *command], cwd=project.folder, env=environment, stdout=said, stderr=said
        )
        try:
            yield log
        finally:
            process.terminate()
            process.wait()


async def say(socket: ClientConnection, **command: object) -> dict[str, object]:
    await socket.send(json.dumps(command))
    return dict(json.loads(await socket.recv()))


async def test_runserver_needs_no_redis(project: Project) -> None:
    port = free_port()
    with running(project, "runserver", f"127.0.0.1:{port}", "--noreload") as log:

        def fetched() -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/news/hello/", timeout=WITHIN) as answer:
                return bytes(answer.read())

        def answers() -> bool:
            with contextlib.suppress(OSError):
                return bool(fetched())
            return False

        await until(lambda: asyncio.to_thread(answers), WITHIN, log.read_text())
        async with asyncio.timeout(WITHIN), connect(f"ws://127.0.0.1:{port}/connection/websocket") as client:
            assert "client" in str(await say(client, id=1, connect={}))
            assert await say(client, id=2, subscribe={"channel": "news:today"}) == {"id": 2, "subscribe": {}}
            assert await asyncio.to_thread(fetched) == b"told"
            push = json.loads(await client.recv())
        assert push == {"push": {"channel": "news:today", "pub": {"data": {"text": "hello"}}}}
        said = log.read_text()
    assert "No Redis: the engine in this process is used" in said and "Traceback" not in said, said


def test_a_check_warns_of_it_with_debug_off(project: Project) -> None:
    project.write("with_engine.py", "from site_settings import *\n\nFLOTILLA = FLOTILLA | {'redis_url': 'memory://'}\n")
    done = project.run("manage.py", "check", DJANGO_SETTINGS_MODULE="with_engine")
    assert done.returncode == 0 and "flotilla_realtime.W030" in done.stderr, done.stderr


def test_other_commands_run_without_a_redis(project: Project) -> None:
    said = project.manage("migrate", SITE_DEBUG="1", SITE_DATABASE=str(project.folder / "db.sqlite3"))
    assert "Running migrations" in said and "Redis" not in said


def test_a_command_to_the_cluster_says_that_it_reaches_nobody(project: Project) -> None:
    done = project.run("manage.py", "publish", "news:today", "1", SITE_DEBUG="1")
    assert done.returncode == 1 and "Other processes cannot be reached" in done.stderr, done.stdout + done.stderr
    assert "redis://" in done.stderr and "Traceback" not in done.stderr
