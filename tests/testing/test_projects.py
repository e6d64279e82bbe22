"""A project's own tests: without Redis, on a real one, and where Flotilla is not used at all."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.redis_process import RedisProcess
from tests.testing.projects import ROOT, Project, copied

PUBLISHING = """
import pytest
from flotilla import history, publish

@pytest.mark.parametrize("number", range(6))
def test_channels_are_empty_in_the_beginning(flotilla_published, number):
    assert history("room:lobby").publications == []
    publish("room:lobby", {"number": number})
    assert [one["data"] for one in history("room:lobby").publications] == [{"number": number}]

def test_without_any_fixture():
    publish("room:other", {"number": 1})
"""
CLIENTS = """
import asyncio
import pytest
from asgiref.sync import async_to_sync
from django.test import SimpleTestCase, TestCase
from flotilla import apublish, broadcast, disconnect, publish
from flotilla.testing import Closed, FlotillaTestMixin, RealtimeClient, isolated, published, recording

class Plain(FlotillaTestMixin, SimpleTestCase):
    def test_no_database_is_needed(self):
        broadcast(["news:a", "news:b"], 1, on_commit=False)
        self.assert_published("news:a", 1, pending=False)
        self.assertEqual([one.channel for one in published], ["news:a", "news:b"])

    async def test_what_does_not_come_is_told(self):
        async with self.realtime() as client:
            await client.subscribe("news:a")
            await apublish("news:a", "this")
            with self.assertRaisesRegex(AssertionError, r"no join came in 'news:a' within 0.2 s; what came: .*this"):
                await client.next_push("news:a", "join", within=0.2)
            with self.assertRaisesRegex(AssertionError, r"1 pushes came: .*this"):
                await client.assert_nothing_pushed()

    async def test_the_server_ends_a_connection(self):
        from flotilla import adisconnect
        async with self.realtime("7") as client, self.realtime("8") as other:
            done = await adisconnect("7")
            self.assertEqual(done.hit, 1)
            self.assertEqual((await client.closed())[0], 3503)
            with self.assertRaises(Closed):
                await client.subscribe("news:a")
            await other.subscribe("news:a")

    async def test_other_loops_follow_one_another(self):
        async with self.realtime("7") as client:
            await client.subscribe("news:a")

class Sessions(FlotillaTestMixin, TestCase):
    async def test_cookies_of_a_browser(self):
        from django.contrib.auth.models import User
        ann = await User.objects.acreate(username="ann")
        await self.async_client.aforce_login(ann)
        async with self.realtime(cookies=self.async_client.cookies) as client:
            await client.subscribe("news:a")

def test_nothing_is_recorded_elsewhere():
    with isolated():
        with recording() as found:
            publish("news:a", 1, on_commit=False)
        publish("news:a", 2, on_commit=False)
    assert [one.data for one in found] == [1]

def test_no_client_without_connect():
    with pytest.raises(AssertionError, match="not connected"):
        async_to_sync(RealtimeClient().subscribe)("news:a")
"""
WITHOUT = """
import sys

def test_nothing_of_django_is_loaded(request):
    assert "flotilla.testing.pytest_plugin" in sys.modules
    assert not [name for name in sys.modules if name.partition(".")[0] in ("django", "redis", "channels", "lupa")]
    assert not [name for name in sys.modules if name.startswith(("flotilla.realtime", "flotilla.store"))]
"""
NO_LUPA = """
import importlib.util
import pytest
from django.core.exceptions import ImproperlyConfigured
from flotilla import publish

def test_a_missing_package_is_named(flotilla_published, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lupa" else find(name))
    with pytest.raises(ImproperlyConfigured, match="needs the package lupa.*pip install 'django-flotilla"):
        publish("room:lobby", 1)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return copied(tmp_path)


@pytest.fixture
def busy_redis() -> Iterator[RedisProcess]:
    """A Redis on which a server with the same settings runs."""
    process = RedisProcess()
    yield process
    process.close()


def test_clients_and_cases(project: Project) -> None:
    project.write("tests/test_clients.py", CLIENTS)
    assert "7 passed" in project.pytest("tests")


def test_a_missing_package_is_named(project: Project) -> None:
    project.write("tests/test_lupa.py", NO_LUPA)
    assert "1 passed" in project.pytest("tests")


def test_where_flotilla_is_not_used_the_plugin_does_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("test_plain.py", WITHOUT)
    done = project.run(
        *("-m", "pytest", "-q", "-p", "flotilla.testing.pytest_plugin", "-p", "no:django", "-p", "no:schemathesis"),
        DJANGO_SETTINGS_MODULE="",
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_is_found_by_its_entry_point() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'\[project\.entry-points\.pytest11\]\nflotilla = "flotilla\.testing\.pytest_plugin"', text)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_on_a_real_redis_a_run_meets_nobody_and_leaves_nothing(
    project: Project, busy_redis: RedisProcess, workers: str
) -> None:
    project.write("tests/test_publishing.py", PUBLISHING)
    with busy_redis_heard(busy_redis) as heard:
        assert "7 passed" in project.pytest("-n", workers, "tests", REDIS_URL=busy_redis.url)
        topics = heard()
    assert topics, "the tests published nothing to this Redis"
    assert all(re.match(r"flotilla-test-[0-9a-f]{8}-\d+-\d+__group__", topic) for topic in topics), topics
    assert len({topic.split("__")[0].split("-")[3] for topic in topics}) <= max(int(workers), 1)
    assert busy_redis.ask("KEYS", "*") == []


class busy_redis_heard:
    """Hears everything that is published on a Redis."""

    def __init__(self, process: RedisProcess) -> None:
        import redis

        self._client = redis.Redis(unix_socket_path=str(process.socket))
        self._pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]

    def __enter__(self) -> "busy_redis_heard":
        self._pubsub.psubscribe("*")
        assert self._pubsub.get_message(timeout=20)
        return self

    def __call__(self) -> set[str]:
        """The topics so far."""
        found = set()
        while message := self._pubsub.get_message(timeout=0.1):
            found.add(message["channel"].decode())
        return found

    def __exit__(self, *_: object) -> None:
        self._pubsub.close()
        self._client.close()
