"""A PostgreSQL for the tests of a session, and the databases they run on. A MySQL or MariaDB is one of them where its
address is in FLOTILLA_TEST_MYSQL (`databases.mysql`) and a driver is installed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flotilla.realtime.outbox.stats import forget
from flotilla.store import Store
from tests.host.support.postgres import Postgres, a_postgres
from tests.realtime.outbox.databases import mysql, postgresql, sqlite
from tests.realtime.outbox.relaying import REALTIME
from tests.store.fixtures import mortal_redis, redis_process, redis_url, shared_redis

__all__ = ["mortal_redis", "redis_process", "redis_url", "shared_redis"]
ADDRESS = os.environ.get("FLOTILLA_TEST_MYSQL", "")
collect_ignore = [] if ADDRESS else ["test_mysql.py"]


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server of its own."""
    with a_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def on_postgresql(postgres_server: Postgres, django_db_blocker: Any) -> Iterator[str]:
    """The alias of a PostgreSQL database with an empty outbox."""
    with django_db_blocker.unblock(), postgresql(postgres_server) as alias:
        yield alias


@pytest.fixture
def on_sqlite(tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """The alias of an SQLite database with an empty outbox."""
    with django_db_blocker.unblock(), sqlite(tmp_path) as alias:
        yield alias


@pytest.fixture
def on_mysql(django_db_blocker: Any) -> Iterator[str]:
    """The alias of a MySQL database with an empty outbox."""
    with django_db_blocker.unblock(), mysql(ADDRESS) as alias:
        yield alias


@pytest.fixture(params=["on_postgresql", "on_sqlite", *(["on_mysql"] if ADDRESS else [])])
def database(request: pytest.FixtureRequest) -> str:
    """Each of them."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def channels(settings: Any) -> None:
    """The channels of the relay's tests."""
    settings.REALTIME = REALTIME


@pytest.fixture
def a_store(redis_url: str) -> Iterator[Store]:
    """Of an empty Redis, for threads."""
    store = Store([redis_url])
    forget()
    yield store
    forget()
    for shard in store.shards:
        shard.close_sync()
