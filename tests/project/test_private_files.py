"""What a real run leaves on the disk is its owner's alone, whatever the umask, and what was wider before is mended."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from realtime.server import redis_binary
from realtime.server.private import private_folder, private_tree

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 90.0  # seconds on a busy machine
INHERITED = ("REDIS_", "DATABASE_URL", "INSTANCE_ID", "DJANGO_", "REALTIME_", "RATE_LIMIT_")

needs_redis = pytest.mark.skipif(
    not any(map(shutil.which, redis_binary.NAMES)), reason="no redis-server or valkey-server on the PATH"
)


def everything(folder: Path) -> dict[str, int]:
    """The rights of a directory and of all that is in it."""
    paths = [folder, *folder.rglob("*")]
    return {str(path.relative_to(folder.parent)): stat.S_IMODE(path.lstat().st_mode) for path in paths}


def open_to_others(folder: Path) -> dict[str, str]:
    """What others have any right on."""
    return {name: oct(mode) for name, mode in everything(folder).items() if mode & 0o077}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A place for temporary files whose path leaves room for a socket's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


@contextmanager
def served(var: Path, temporary: Path, umask: int) -> Iterator[None]:
    """`make run`'s command with one instance, from when a page was served until it has ended."""
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(INHERITED)}
    env |= {"FLOTILLA_VAR": str(var), "METRICS_PORT": str(free_port()), "TMPDIR": str(temporary)}
    command = [sys.executable, "manage.py", "serve", "--demo", "--instances", "1", "--port", str(port)]
    log = temporary / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output, umask=umask)
    try:
        deadline = time.monotonic() + READY_WITHIN
        while not _answers(f"http://127.0.0.1:{port}/health/ready"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.1)
        assert _answers(f"http://127.0.0.1:{port}/admin/login/")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _answers(url: str) -> bool:
    with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5) as response:
        return bool(response.status == 200)
    return False


@needs_redis
@pytest.mark.timeout(200)
@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_a_run_leaves_nothing_that_others_can_read(tmp_path: Path, temporary: Path, umask: int) -> None:
    """Secrets, the database with what stands beside it, Redis's files and log, the socket, also where it is in /tmp."""
    var = tmp_path / ("deep" * 25) / "var"  # too long for the address of a socket
    with served(var, temporary, umask):
        names = everything(var)
        assert {"var/db.sqlite3", "var/redis/redis.log", "var/secret_key", "var/api_key"} <= set(names)
        assert open_to_others(var) == {}
        own = temporary / f"flotilla-{os.getuid()}"
        assert [path for path in own.iterdir() if path.is_socket()]
        assert open_to_others(own) == {}
    assert open_to_others(var) == {}
    assert open_to_others(var.parent).keys() <= {var.parent.name}  # which is made for var/, and not for everybody
    assert not stat.S_IMODE(var.parent.stat().st_mode) & 0o022


@needs_redis
@pytest.mark.timeout(200)
def test_what_was_open_before_is_mended_at_the_start(tmp_path: Path, temporary: Path) -> None:
    var = tmp_path / "var"
    with served(var, temporary, 0o022):
        pass
    for path in (var, *var.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    with served(var, temporary, 0o022):
        assert open_to_others(var) == {}


def test_prepare_makes_the_database_for_its_owner_alone(tmp_path: Path) -> None:
    var = tmp_path / "var"
    env = {name: value for name, value in os.environ.items() if not name.startswith(INHERITED)}
    env |= {"FLOTILLA_VAR": str(var), "DJANGO_SECRET_KEY": "k" * 50}
    words = [sys.executable, "manage.py", "prepare"]
    subprocess.run(words, cwd=ROOT, env=env, check=True, capture_output=True, timeout=100, umask=0)
    assert "var/db.sqlite3" in everything(var)
    assert open_to_others(var) == {}


def test_a_directory_for_everybody_and_what_links_lead_to_are_left_alone(tmp_path: Path) -> None:
    shared, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    shared.mkdir()
    shared.chmod(0o1777)
    elsewhere.write_text("not ours to judge")
    elsewhere.chmod(0o644)
    (shared / "another's").write_text("")
    private_tree(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    private_folder(tmp_path / "own")
    (tmp_path / "own" / "link").symlink_to(elsewhere)
    private_tree(tmp_path / "own")
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
