"""Publishing while Redis is away: the request that committed is answered as without us, and the loss is told."""

import asyncio
import logging
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, TestCase
from django.urls import path
from django.utils.connection import ConnectionDoesNotExist

from flotilla import abroadcast, apublish, broadcast, history, publish, reauthorize
from flotilla.realtime.api import publishing
from flotilla.realtime.losses import losses
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.protocol.codes import CommandError
from flotilla.store import StoreUnavailable, get_store, patience
from flotilla.store.errors import StoreNotAsked
from flotilla.store.shards import reset_store
from tests.cluster.support.documents import snippets
from tests.ratelimit.slow_redis import SlowRedis
from tests.store import cluster_process
from tests.store.pausing import hung
from tests.store.redis_process import RedisProcess, until
from tests.store.silent import accepting, refusing, swallowing

ROOM = "open:a"
MANY = 10  # publications of one request
BOUND = 10.0  # seconds: the request waits for 2 in all, the rest is for a busy machine; each by itself makes 20
hooks: list[str] = []


@transaction.atomic
def order(request: HttpRequest) -> HttpResponse:
    """A view as projects have them."""
    for number in range(MANY):
        publish(ROOM, {"secret": number})
    transaction.on_commit(lambda: hooks.append("mail"))
    return HttpResponse("ordered")


@transaction.atomic
def strict_order(request: HttpRequest) -> HttpResponse:
    """The same, of somebody who wants to know."""
    publish(ROOM, 1, on_error="raise")
    return HttpResponse("ordered")


urlpatterns = [path("order/", order), path("strict/", strict_order)]


@pytest.fixture(autouse=True)
def _site(configured: Any) -> Iterator[None]:
    """These views alone, and nothing else that asks Redis."""
    configured.ROOT_URLCONF = __name__
    configured.MIDDLEWARE = []
    hooks.clear()
    patience.end()
    yield
    asyncio.run(get_store().close())


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, int]]:
    """What was lost since the test began, by reason. The log has room for each, whatever the tests before had told."""
    monkeypatch.setattr(losses, "_lines", 0)
    before = dict(losses.by_reason)
    return lambda: {reason: n - before[reason] for reason, n in losses.by_reason.items() if n > before[reason]}


def stopped(redis: RedisProcess) -> AbstractContextManager[Any]:
    """A Redis that is really there, and hangs."""
    return hung(redis)


SILENT: dict[str, Callable[[RedisProcess], AbstractContextManager[Any]]] = {
    "stopped": stopped,
    "accepts and says nothing": lambda _: accepting(),
    "drops what is sent to it": lambda _: swallowing(),
}


def use(configured: Any, url: str | None) -> None:
    """Publish to another address from now on."""
    if url is not None:
        asyncio.run(get_store().close())
        configured.REDIS_URLS = [url]
        reset_store()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", SILENT)
def test_a_silent_redis_delays_a_request_once(
    configured: Any,
    mortal_redis: RedisProcess,
    lost: Callable[[], dict[str, int]],
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    """It is answered, later hooks run; the next request does not wait at all, and what Redis says later is seen."""
    use(configured, mortal_redis.url)
    publish(ROOM, "before")
    with SILENT[name](mortal_redis) as url:
        use(configured, url)
        began = time.monotonic()
        answer = Client().post("/order/")
        assert time.monotonic() - began < BOUND
        assert (answer.status_code, hooks) == (200, ["mail"])
        assert lost() == {"silent": 1, "not_asked": MANY - 1}
        assert Client().post("/order/").status_code == 200
        assert lost() == {"silent": 1, "not_asked": 2 * MANY - 1}
        told = [record for record in caplog.records if record.name == "flotilla.publish"]
        assert len(told) == 2 * MANY
        assert all(record.levelno == logging.ERROR and ROOM in record.getMessage() for record in told)
        assert "secret" not in caplog.text
    use(configured, mortal_redis.url if url else None)
    asyncio.run(until(lambda: not get_store().first.silent, 30))
    assert publish(ROOM, "after") is not None


@pytest.mark.django_db(transaction=True)
def test_a_refused_connection_costs_no_request_anything(
    configured: Any, lost: Callable[[], dict[str, int]], mortal_redis: RedisProcess
) -> None:
    """Each is tried, so that the first one after a restart is sent."""
    with refusing() as url:
        use(configured, url)
        assert Client().post("/order/").status_code == 200
    assert (lost(), hooks) == ({"unreachable": MANY}, ["mail"])
    use(configured, mortal_redis.url)
    publish(ROOM, 0)
    mortal_redis.kill()
    assert Client().post("/order/").status_code == 200
    assert (lost(), hooks) == ({"unreachable": 2 * MANY}, ["mail"] * 2)
    mortal_redis.start()
    assert Client().post("/order/").status_code == 200
    assert (lost(), len(history(ROOM).publications)) == ({"unreachable": 2 * MANY}, MANY)


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_refuses_is_no_error_of_the_request_either(
    configured: Any, lost: Callable[[], dict[str, int]], mortal_redis: RedisProcess
) -> None:
    """It answers, so each publication is tried."""
    use(configured, mortal_redis.url)
    mortal_redis.ask("CONFIG", "SET", "maxmemory", "1")
    assert Client().post("/order/").status_code == 200
    assert (lost(), hooks) == ({"refused": MANY}, ["mail"])


def a_request() -> None:
    """One that publishes in a commit."""
    assert Client().post("/order/").status_code == 200


def a_task() -> None:
    """The same commit in a worker."""
    order(HttpRequest())


@pytest.mark.skipif(cluster_process.CHOSEN, reason="the slow Redis is one socket, and a cluster has several")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("commit", [a_request, a_task])
async def test_a_slow_redis_is_waited_for_once_by_a_commit(
    configured: Any,
    redis_url: str,
    tmp_path: Path,
    lost: Callable[[], dict[str, int]],
    commit: Callable[[], None],
) -> None:
    """What it answers in the time of the request is sent, what it would answer later is given up; the next one has
    its own time."""
    slow = await SlowRedis(redis_url, str(tmp_path / "slow.sock")).start()
    await get_store().close()
    configured.REDIS_URLS = [slow.url]
    reset_store()
    await asyncio.to_thread(publish, ROOM, 0, on_commit=False)
    slow.delay = lambda: 0.9
    for number in (1, 2):
        began = time.monotonic()
        await asyncio.to_thread(commit)
        assert time.monotonic() - began < BOUND
        assert len(hooks) == number
        assert sum(lost().values()) >= (MANY - 3) * number
        assert lost().get("not_asked", 0) >= (MANY - 4) * number
    slow.delay = lambda: 0.0
    await until(lambda: not get_store().first.silent, 30)
    sent = (await asyncio.to_thread(history, ROOM, limit=-1)).offset - 1
    assert sent >= 2
    await get_store().close()
    await slow.close()


@pytest.mark.django_db(transaction=True)
def test_who_wants_to_know_is_told_by_the_commit(configured: Any, lost: Callable[[], dict[str, int]]) -> None:
    """With on_error="raise"; then nothing counts as lost."""
    with refusing() as url:
        use(configured, url)
        with pytest.raises(StoreUnavailable):
            Client().post("/strict/")
    assert lost() == {}


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_transaction_it_is_raised_unless_it_shall_be_logged(
    configured: Any, lost: Callable[[], dict[str, int]]
) -> None:
    """By publish and broadcast alike."""
    with refusing() as url:
        use(configured, url)
        for on_error in (None, "raise"):
            with pytest.raises(StoreUnavailable):
                publish(ROOM, 1, on_error=on_error)  # type: ignore[arg-type]
            with pytest.raises(StoreUnavailable), transaction.atomic():
                publish(ROOM, 1, on_commit=False, on_error=on_error)  # type: ignore[arg-type]
        assert lost() == {}
        assert publish(ROOM, 1, on_error="log") is None
        assert broadcast([ROOM, ROOM], 1, on_error="log") == [None, None]
    assert lost() == {"unreachable": 3}


async def test_coroutines_have_the_same_choice(
    configured: Any, mortal_redis: RedisProcess, lost: Callable[[], dict[str, int]]
) -> None:
    """And wait once, as a request does."""
    configured.REDIS_URLS = [mortal_redis.url]
    reset_store()
    assert await apublish(ROOM, 0, on_error="log") is not None
    with hung(mortal_redis):
        began = time.monotonic()
        assert await abroadcast([ROOM] * MANY, 1, on_error="log") == [None] * MANY
        assert time.monotonic() - began < BOUND
        assert sum(lost().values()) == MANY
        assert lost()["not_asked"] >= MANY - 2  # the first call may be given up by its connection before its time
        with pytest.raises(StoreUnavailable) as caught:
            await apublish(ROOM, 1)
        assert not isinstance(caught.value, StoreNotAsked)
    await get_store().close()


@pytest.mark.django_db(transaction=True)
def test_a_mistake_of_the_caller_is_raised_at_the_call(lost: Callable[[], dict[str, int]]) -> None:
    """Whatever becomes of errors of Redis: nothing is left for the commit but to send."""
    mistakes: list[tuple[type[Exception], dict[str, Any]]] = [
        (CommandError, {"channel": "nowhere:a"}),
        (TypeError, {"data": object()}),
        (CommandError, {"version": -1}),
        (CommandError, {"idempotency_key": "\ud83d"}),
        (CommandError, {"version": 1, "version_epoch": "\ud83d"}),
        (ValueError, {"on_error": "ignore"}),
        (ConnectionDoesNotExist, {"using": "nowhere"}),
    ]
    with transaction.atomic():
        for kind, wrong in mistakes:
            with pytest.raises(kind):
                publish(**{"channel": ROOM, "data": 1, "on_error": "log"} | wrong)
    assert (lost(), history(ROOM).publications) == ({}, [])


@pytest.mark.django_db(transaction=True)
def test_access_that_could_not_be_checked_again_is_no_error_of_the_request(
    configured: Any, caplog: pytest.LogCaptureFixture, lost: Callable[[], dict[str, int]]
) -> None:
    """It is in the log, and is no publication."""
    with refusing() as url:
        use(configured, url)
        with transaction.atomic():
            assert reauthorize(7) is None
            transaction.on_commit(lambda: hooks.append("mail"))
        assert reauthorize(7, on_error="log") is None
        with pytest.raises(StoreUnavailable):
            reauthorize(7)
    assert hooks == ["mail"]
    assert caplog.text.count("could not be told that access changed") == 2
    assert lost() == {}


class TestInsideOfTestCase(TestCase):
    """What holds in tests of a project, whose transactions are rolled back."""

    def test_what_a_commit_would_publish_is_published_when_hooks_are_executed(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            assert self.client.post("/order/").status_code == 200
            assert history(ROOM).publications == []
        assert len(callbacks) == MANY + 1
        assert [one["data"] for one in history(ROOM).publications] == [{"secret": n} for n in range(MANY)]

    def test_a_watcher_sees_it_without_that(self) -> None:
        seen: list[tuple[str, bytes]] = []
        publishing.watchers.append(lambda channel, body, keywords: seen.append((channel, body)))
        try:
            assert self.client.post("/order/").status_code == 200
            asyncio.run(apublish("plain:b", 1, tags={"kind": "x"}))
        finally:
            publishing.watchers.pop()
        assert seen[0] == (ROOM, b'{"data":{"secret":0}}')
        assert seen[MANY:] == [("plain:b", b'{"data":1,"tags":{"kind":"x"}}')]


@pytest.mark.django_db(transaction=True)
def test_the_documents_example_is_a_test_that_passes(configured: Any) -> None:
    """As it is printed, and it fails when nothing is published."""
    kept = {"history_size": 10, "history_ttl": "60s"}
    configured.REALTIME = {"without_namespace": kept, "namespaces": {"order": kept}}
    found: dict[str, Any] = {"__name__": "documented"}
    for code in snippets("PUBLISHING.md", "python"):
        exec(code, found)
    assert OutboxRow.objects.get().channel == "order:7"
    urls: Any = ModuleType("urls")
    urls.urlpatterns = [path("rename/", found["rename"])]
    configured.ROOT_URLCONF = urls
    for works in (True, False):
        if not works:
            found["publish"] = lambda *_: None
        for shard in get_store().shards:
            shard.execute_sync("FLUSHALL")
        result = unittest.TestResult()
        unittest.TestLoader().loadTestsFromTestCase(found["Renaming"]).run(result)
        assert (result.testsRun, result.wasSuccessful()) == (1, works), result.errors + result.failures
