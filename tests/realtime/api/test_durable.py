"""Durable publications: what callers of the API are answered, and what stands in the outbox afterwards."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError as Failed
from django.core.management import call_command
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path
from django.utils.connection import ConnectionDoesNotExist

from flotilla import abroadcast, apublish, broadcast, history, publish
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.protocol.codes import CommandError
from flotilla.testing import recording

pytestmark = pytest.mark.django_db(transaction=True)
ROOM = "open:a"
SURE = "sure:a"


def order(request: HttpRequest, number: int) -> HttpResponse:
    """A view as projects have them."""
    publish(SURE, number)
    return HttpResponse(f"{1 / number}")


urlpatterns = [path("", include("flotilla.realtime.api.urls")), path("order/<int:number>/", order)]


@pytest.fixture(autouse=True)
def _site(configured: Any) -> None:
    configured.ROOT_URLCONF = __name__
    configured.MIDDLEWARE = []


def waiting() -> list[tuple[str, Any, dict[str, Any]]]:
    """What stands in the outbox: channel, data, keywords."""
    found = OutboxRow.objects.order_by("position")
    return [(row.channel, json.loads(bytes(row.body or b""))["data"], row.keywords) for row in found]


def ask(method: str, **asked: Any) -> Any:
    answer = Client().post(f"/api/{method}", asked, "application/json", headers={"X-API-Key": "k" * 32})
    assert answer.status_code == 200
    return answer.json()


def test_it_is_written_and_redis_is_not_asked(configured: Any) -> None:
    assert publish(ROOM, {"n": 1}, durable=True) is None
    assert publish(SURE, 2) is None
    assert waiting() == [(ROOM, {"n": 1}, {}), (SURE, 2, {})]
    assert history(ROOM).publications == []


def test_namespace_may_be_overruled() -> None:
    assert publish(SURE, 1, durable=False) is not None
    assert waiting() == []


def test_all_keywords_are_kept() -> None:
    publish(SURE, 1, tags={"a": "b"}, key="7", delta=True, version=3, version_epoch="e", skip_history=True)
    (row,) = OutboxRow.objects.all()
    assert json.loads(bytes(row.body or b"")) == {"data": 1, "tags": {"a": "b"}, "key": "7"}
    assert row.keywords == {"delta": True, "version": 3, "version_epoch": "e", "skip_history": True}


def test_rollback_takes_it_away() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        publish(SURE, 1)
        raise ZeroDivisionError
    with transaction.atomic():
        publish(SURE, 2)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            broadcast([SURE, "sure:b"], 3)
            raise ZeroDivisionError
    assert [data for _, data, _ in waiting()] == [2]


def test_broadcast_is_one_transaction() -> None:
    began: list[str] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        began.extend([sql] if sql.startswith("BEGIN") else [])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        assert broadcast(["sure:a", "sure:b"], 1) == [None, None]
    assert len(began) == 1
    placed = broadcast([ROOM, SURE], 2)
    assert placed[0] is not None and placed[1] is None
    assert [(channel, data) for channel, data, _ in waiting()] == [("sure:a", 1), ("sure:b", 1), (SURE, 2)]


@pytest.mark.parametrize("keyword", ["a", None])
def test_channel_has_the_first_of_a_key(keyword: str | None) -> None:
    for number in range(3):
        publish(SURE, number, idempotency_key=keyword)
    assert [data for _, data, _ in waiting()] == ([0] if keyword else [0, 1, 2])


def test_what_is_wrong_is_raised_at_once_and_breaks_no_transaction() -> None:
    with transaction.atomic():
        with pytest.raises(TypeError):
            publish(SURE, object())
        with pytest.raises(CommandError):
            publish("unknown:a", 1, durable=True)
        with pytest.raises(CommandError):
            publish(ROOM, 1, durable=True, key="needs conflate")
        with pytest.raises(CommandError):
            publish(SURE, "x" * 10_000_000)
        with pytest.raises(ValueError, match="durable=False"):
            publish(SURE, 1, on_commit=False)
        with pytest.raises(ValueError, match="on_error"):
            publish(SURE, 1, on_error="never")  # type: ignore[arg-type]
        with pytest.raises(ConnectionDoesNotExist):
            publish(SURE, 1, using="nowhere")
        publish(SURE, "right")
    assert [data for _, data, _ in waiting()] == ["right"]


def test_missing_table_says_what_to_run() -> None:
    call_command("migrate", "flotilla_realtime", "0002", verbosity=0)
    try:
        with pytest.raises(ImproperlyConfigured, match="migrate flotilla_realtime --database default"):
            publish(SURE, 1)
        assert ask("publish", channel=SURE, data=1)["error"]["code"] == 100
        assert ask("broadcast", channels=[SURE], data=1)["result"]["responses"][0]["error"]["code"] == 100
        with pytest.raises(Failed, match="migrate flotilla_realtime"):
            call_command("publish", SURE, "1")
    finally:
        call_command("migrate", "flotilla_realtime", verbosity=0)


def test_coroutines_write_it_by_a_thread() -> None:
    async def run() -> list[Any]:
        return [
            await apublish(SURE, 1),
            await apublish(ROOM, 2, durable=True),
            await abroadcast([SURE, "sure:b"], 3),
            await abroadcast([ROOM], 4, durable=True),
        ]

    assert async_to_sync(run)() == [None, None, [None, None], [None]]
    assert [data for _, data, _ in waiting()] == [1, 2, 3, 3, 4]


def test_http_writes_it() -> None:
    assert ask("publish", channel=SURE, data=1, idempotency_key="a") == {"result": {}}
    assert ask("publish", channel=SURE, data=1, idempotency_key="a") == {"result": {}}
    assert ask("publish", channel=ROOM, data=2, durable=True) == {"result": {}}
    assert ask("publish", channel=SURE, data=3, durable=False)["result"]["offset"] == 1
    answer = ask("broadcast", channels=[SURE, ROOM, "unknown:a"], data=4)["result"]
    assert [sorted(one) for one in answer["responses"]] == [["result"], ["result"], ["error"]]
    assert answer["responses"][0] == {"result": {}}
    assert ask("publish", channel=SURE, data=5, key="x" * 300)["error"]["code"] == 107
    assert [(channel, data) for channel, data, _ in waiting()] == [(SURE, 1), (ROOM, 2), (SURE, 4)]


async def test_asynchronous_requests_write_it() -> None:
    asked = {"channel": SURE, "data": 1}
    client = AsyncClient()
    answer = await client.post("/api/publish", asked, "application/json", headers={"X-API-Key": "k" * 32})
    assert answer.json() == {"result": {}}
    assert await OutboxRow.objects.acount() == 1


def test_command_writes_it() -> None:
    said = StringIO()
    call_command("publish", ROOM, "1", durable=True, stdout=said)
    call_command("publish", SURE, "2", stdout=said)
    call_command("publish", SURE, "3", as_json=True, stdout=said)
    assert said.getvalue().count("Written to the outbox") == 2
    assert [data for _, data, _ in waiting()] == [1, 2, 3]


def test_recorder_has_it_from_the_call_on() -> None:
    with recording() as published:
        with transaction.atomic():
            publish(SURE, 1, idempotency_key="a")
            (one,) = published.assert_published(SURE, 1, pending=True)
            assert one.options == {"idempotency_key": "a"}
        published.assert_published(SURE, 1, count=1, pending=False)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            publish(SURE, 2)
            raise ZeroDivisionError
        published.assert_published(SURE, count=1)
        assert [one.data for one in published.unsent] == [2]


def test_request_that_fails_takes_its_publications_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ATOMIC_REQUESTS."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    client = Client(raise_request_exception=False)
    assert client.get("/order/1/").status_code == 200
    assert client.get("/order/0/").status_code == 500
    assert [data for _, data, _ in waiting()] == [1]
