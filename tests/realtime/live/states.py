"""Fixtures of the tests of states: boards in either database, and a browser that asks for them."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flotilla.realtime.live import registry
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.patterns import Pattern
from flotilla.store import get_store
from tests.realtime.client.nodes import configured
from tests.realtime.live import state_rows
from tests.realtime.live.state_rows import TicketLive, tables
from tests.realtime.outbox.conftest import database, on_postgresql, on_sqlite, postgres_server
from tests.store.fixtures import mortal_redis, redis_process, redis_url, shared_redis

__all__ = [
    "_settings",
    "ann",
    "board",
    "configured",
    "database",
    "get",
    "mortal_redis",
    "on_postgresql",
    "on_sqlite",
    "postgres_server",
    "redis_process",
    "redis_url",
    "shared_redis",
]

Get = Callable[..., Any]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "flotilla.ratelimit.http.middleware.RateLimitMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
KEPT = {"history_size": 100, "history_ttl": "1h", "force_recovery": True}
OPEN = {**KEPT, "allow_subscribe_for_client": True}


def may_see(user: Any, channel: str, info: Any) -> bool:
    """A hook: staff sees every audience, others the one that all are."""
    return bool(user.is_staff or channel.startswith("audience:all:"))


@pytest.fixture(autouse=True)
def _settings(configured: Any) -> Iterator[None]:
    """A project with namespaces of every kind."""
    configured.ROOT_URLCONF = "flotilla.urls"
    configured.MIDDLEWARE = MIDDLEWARE
    configured.ALLOWED_HOSTS = ["testserver"]
    configured.RATE_LIMITS = {}
    configured.REALTIME_ALLOWED_ORIGINS = ["https://app.example"]
    configured.DATABASE_ROUTERS = ["tests.realtime.live.state_rows.Router"]
    configured.REALTIME = {
        "namespaces": {
            "pane": OPEN,
            "closed": KEPT,
            "audience": {**KEPT, "subscribe_permission": f"{__name__}.may_see"},
            "plain": {"allow_subscribe_for_client": True},
            "cached": {**OPEN, "force_recovery_mode": "cache"},
        }
    }
    yield
    asyncio.run(get_store().close())


@pytest.fixture
def board(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Boards whose tickets are shown, in either database; gives its alias."""
    with tables(database):
        monkeypatch.setattr(state_rows.Router, "alias", database)
        with shown(TicketLive, "pane:{board_id}"):
            yield database


class shown:
    """A live model that is declared for a while."""

    def __init__(self, live: type[LiveModel], *patterns: str) -> None:
        self._live = live()
        self._live.patterns = tuple(map(Pattern, patterns))

    def __enter__(self) -> None:
        registry.register(self._live)

    def __exit__(self, *_: object) -> None:
        registry.forget(self._live)


@pytest.fixture
def ann() -> User:
    """A user."""
    return User.objects.create_user("ann", password="secret")


@pytest.fixture
def get(ann: User) -> Get:
    """Ann's browser asks for a channel's state."""
    client = Client()
    client.force_login(ann)

    def get(channel: str = "pane:1", query: str = "", method: str = "get", **headers: str) -> Any:
        return getattr(client, method)(f"/flotilla/state/{quote(channel, safe='')}{query}", headers=headers)

    return get


def rows(answer: Any) -> list[tuple[str, Any]]:
    """The rows of an answer: their keys and data."""
    assert answer.status_code == 200, answer.content
    return [(row["key"], row["data"]) for row in answer.json()["rows"]]


def all_pages(get: Get, limit: int, channel: str = "pane:1") -> list[dict[str, Any]]:
    """Every page, as a client asks for them."""
    pages = [get(channel, f"?limit={limit}").json()]
    while "next" in pages[-1]:
        query = f"?limit={limit}&after={pages[-1]['next']}&since={pages[0]['version']}"
        pages.append(get(channel, query).json())
    return pages
