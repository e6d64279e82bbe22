"""What a state is asked for with, from names with any characters to made-up cursors, and what is away."""

import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import AsyncClient, Client

from flotilla.ratelimit.service import reset_limits
from flotilla.realtime.access.tokens import make_connection_token
from flotilla.realtime.api import state_endpoint
from flotilla.realtime.live import state, state_cursor
from flotilla.realtime.live.state_turns import Turns
from flotilla.store.shards import reset_store
from tests.realtime.live.state_rows import Note, NoteLive, saved
from tests.realtime.live.states import *  # noqa: F403  fixtures
from tests.realtime.live.states import OPEN, Get, rows, shown
from tests.realtime.outbox.databases import execute
from tests.store.redis_process import RedisProcess

pytestmark = pytest.mark.django_db(transaction=True)


def test_names_with_any_characters(board: str, get: Get, settings: Any) -> None:
    settings.REALTIME = {"without_namespace": OPEN, "namespaces": {"pane": OPEN}}
    name = " a/b//c%2F?x=1&y#z+;'\"\\{}~:.."
    with shown(NoteLive, "{name}"):
        Note.objects.using(board).create(name=name.replace(":", "-"), board_id=1)
        assert rows(get(name.replace(":", "-"))) == [
            (f"note-{name.replace(':', '-')}", {"note": name.replace(":", "-")})
        ]


HOSTILE = (
    "?limit=0",
    "?limit=-1",
    "?limit=x",
    "?limit=",
    "?limit=99999999999999999999999",
    "?limit=²",
    "?after=",
    "?after=x&since=0",
    "?after=%00&since=0",
    "?after=%ff&since=0",
    "?after=" + "A" * 5000 + "&since=0",
    "?after=W10&since=0",
    "?after=WyJhIiwxLDBd",
    "?after=WyJhIiwxLDBd&since=-1",
    "?after=WyJhIiwxLDBd&since=9999999999999999999",
)


def test_hostile_questions(board: str, get: Get) -> None:
    for query in HOSTILE:
        assert get(query=query).status_code in (400, 410), query


def test_made_up_cursors(board: str, get: Get) -> None:
    with shown(NoteLive, "pane:{board_id}"):
        for label in ("state_tests.TicketLive", "state_tests.NoteLive", "auth.User"):
            for pk in ("x", "", "1\x00", 2**62, 2**63, -(2**63) - 1, "9" * 500):
                cursor = state_cursor.written(state_cursor.Cursor(label, pk, time.time()))
                assert get(query=f"?after={cursor}&since=0").status_code in (200, 400, 410), (label, pk)


def test_a_cursor_of_another_channel_shows_rows_of_this_one(board: str, get: Get) -> None:
    saved(board, "a"), saved(board, "b")
    theirs = saved(board, "c", board=2)
    cursor = get(query="?limit=1").json()["next"]
    assert [key for key, _ in rows(get("pane:2", f"?after={cursor}&since=0"))] == [str(theirs.pk)]


def test_limits(board: str, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_endpoint, "MOST", 2)
    monkeypatch.setattr(state_endpoint, "LIMIT", 1)
    for number in range(3):
        saved(board, f"{number}")
    assert [len(rows(get(query=query))) for query in ("", "?limit=1", "?limit=2", "?limit=100")] == [1, 1, 2, 2]


def test_methods(board: str, get: Get) -> None:
    saved(board, "one")
    head = get(method="head")
    assert (head.status_code, head.content, bool(head["ETag"])) == (200, b"", True)
    for method in ("post", "put", "delete", "patch"):
        answer = get(method=method)
        assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_pages_of_other_origins(board: str, ann: User) -> None:
    token = {"Authorization": f"Bearer {make_connection_token(ann)}"}
    client = Client()
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-subscription-token"}
    allowed = client.options("/flotilla/state/pane:1", headers={"Origin": "https://app.example", **asks})
    assert (allowed.status_code, allowed["Access-Control-Allow-Origin"]) == (204, "https://app.example")
    assert "x-subscription-token" in allowed["Access-Control-Allow-Headers"]
    answer = client.get("/flotilla/state/pane:1", headers={"Origin": "https://app.example", **token})
    assert answer.status_code == 200
    assert answer["Access-Control-Allow-Origin"] == "https://app.example"
    assert {"Origin", "Cookie", "Authorization"} <= {one.strip().title() for one in answer["Vary"].split(",")}
    strange = client.get("/flotilla/state/pane:1", headers={"Origin": "https://evil.example", **token})
    assert strange.status_code == 403
    assert "Access-Control-Allow-Origin" not in strange
    link = client.get("/flotilla/state/pane:1", headers={"Sec-Fetch-Site": "cross-site", **token})
    assert link.status_code == 403


def test_a_rate_limit_on_the_route(board: str, get: Get, settings: Any, redis_url: str) -> None:
    settings.RATE_LIMIT_REDIS_URL = redis_url
    settings.RATE_LIMITS = {"states": {"guards": "http:flotilla_state", "key": "user", "rate": "1/h"}}
    reset_limits()
    try:
        assert [get().status_code for _ in range(2)] == [200, 429]
    finally:
        settings.RATE_LIMITS = {}
        reset_limits()


def test_atomic_requests(board: str, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    assert get().status_code == 200


async def test_under_asgi(board: str, ann: User) -> None:
    client = AsyncClient()
    await client.aforce_login(ann)
    answer = await client.get("/flotilla/state/pane:1")
    assert (answer.status_code, answer.json()["rows"]) == (200, [])


# What is away


def test_redis_is_away(board: str, get: Get, settings: Any, mortal_redis: RedisProcess) -> None:
    settings.REDIS_URLS = [mortal_redis.url]
    reset_store()
    assert get().status_code == 200
    mortal_redis.kill()
    answer = get()
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")


def test_the_database_has_no_outbox(board: str, get: Get) -> None:
    """Or cannot be asked for any other reason."""
    execute(board, "ALTER TABLE flotilla_outbox RENAME TO elsewhere")
    try:
        answer = get()
    finally:
        execute(board, "ALTER TABLE elsewhere RENAME TO flotilla_outbox")
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")


def test_too_many_at_a_time(board: str, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(at_once=1, waiting=1, patience=0.05)
    monkeypatch.setattr(state, "turns", turns)
    with turns.one():
        assert get().status_code == 503
    assert get().status_code == 200
