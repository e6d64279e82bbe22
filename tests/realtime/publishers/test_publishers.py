"""Publishing from wherever a project's code runs, each in real processes: all is sent, and each ends by itself."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.realtime.publishers.places import PLACES
from tests.store.pausing import hung
from tests.store.redis_process import RedisProcess, until

ROOT = Path(__file__).resolve().parents[3]
WITHIN = 100.0  # seconds for a process that is no longer there
COMPLAINTS = re.compile(r"was destroyed|never retrieved|ResourceWarning|RuntimeWarning|Traceback|Exception ignored")
PYTHON = (sys.executable, "-W", "default::ResourceWarning", "-W", "default::RuntimeWarning")
TASKS = 6


def environment(mortal_redis: RedisProcess, tmp_path: Path) -> dict[str, str]:
    """Of a process of a project."""
    own = {
        "DJANGO_SETTINGS_MODULE": "tests.realtime.publishers.settings",
        "PUBLISHERS_REDIS": mortal_redis.url,
        "PUBLISHERS_FOLDER": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    return {name: value for name, value in os.environ.items() if name != "CI"} | own


def streams(server: RedisProcess) -> list[str]:
    """What was published, in order."""
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        [stream] = list(client.scan_iter("*", _type="STREAM")) or [None]
        entries = client.xrange(stream) if stream else []
    return [re.search(rb'"data":"?([^"}]*)', next(iter(fields.values())))[1].decode() for _, fields in entries]  # type: ignore[index]


def ended(place: str, env: dict[str, str]) -> str:
    """What a process said until it ended, in order and by itself."""
    words = [*PYTHON, "-m", "tests.realtime.publishers.places", place]
    done = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("place", PLACES)
def test_it_is_sent_and_the_process_ends(place: str, mortal_redis: RedisProcess, tmp_path: Path) -> None:
    """Without a word of complaint, and without a connection that stays."""
    said = ended(place, environment(mortal_redis, tmp_path))
    assert not COMPLAINTS.search(said), said
    assert len(streams(mortal_redis)) == (7 if place == "forked processes" else 3)
    if place == "another database":
        assert streams(mortal_redis) == ["first", "second", "third"]
    with redis.Redis(unix_socket_path=str(mortal_redis.socket)) as client:
        assert len(client.client_list()) == 1


@pytest.mark.parametrize("place", ["views", "async views", "threads", "a thread that goes on", "several loops"])
def test_it_ends_while_redis_hangs_too(place: str, mortal_redis: RedisProcess, tmp_path: Path) -> None:
    """Every loss is in the log."""
    with hung(mortal_redis):
        said = ended(place, environment(mortal_redis, tmp_path))
    assert said.count("a publication into room is lost") == 3
    assert not COMPLAINTS.search(said), said


@contextmanager
def worker(env: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Celery's, with two forked children."""
    words = [*PYTHON, "-m", "celery", "-A", "tests.realtime.publishers.tasks", "worker", "--pool", "prefork"]
    words += ["--concurrency", "2", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    process = subprocess.Popen(words, env=env, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def send_tasks(env: dict[str, str]) -> None:
    """Give the worker its work, from a process of its own."""
    code = f"from tests.realtime.publishers.tasks import order\nfor n in range({TASKS}): order.delay(n)"
    subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, check=True, timeout=WITHIN)


@pytest.mark.timeout(300)
async def test_celery_workers_publish_and_end(mortal_redis: RedisProcess, tmp_path: Path) -> None:
    """Their parent has published before it forked them; SIGTERM ends them."""
    env = environment(mortal_redis, tmp_path)
    expected = sorted(["parent"] * 2 + [f"{kind} {number}" for number in range(TASKS) for kind in ("task", "loop")])
    with worker(env) as process:
        await asyncio.to_thread(send_tasks, env)
        await until(lambda: process.poll() is not None or sorted(streams(mortal_redis)) == expected, WITHIN)
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.to_thread(process.communicate, timeout=WITHIN)
    assert sorted(streams(mortal_redis)) == expected, said
    assert process.returncode == 0
    assert not COMPLAINTS.search(said), said
