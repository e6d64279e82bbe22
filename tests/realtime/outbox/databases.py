"""Databases of the tests' own, beside the project's: real ones, that threads can meet in."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from django.core.management import call_command
from django.db import connections, transaction

from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.order import give_positions
from tests.host.support.postgres import Postgres
from tests.waiting import wait_until

Result = TypeVar("Result")
POSTGRESQL, SQLITE, MYSQL = "outbox_postgresql", "outbox_sqlite", "outbox_mysql"
"""How the aliases begin."""


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    """A file with the outbox in it; gives the alias."""
    options = {"transaction_mode": "IMMEDIATE", "timeout": 30}
    given = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "outbox.sqlite3"), "OPTIONS": options}
    with _known(SQLITE, given) as alias:
        call_command("migrate", "flotilla_realtime", database=alias, verbosity=0)
        yield alias


@contextmanager
def postgresql(server: Postgres) -> Iterator[str]:
    """A new schema with the outbox in it; gives the alias."""
    given: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "bazaar",
        "USER": "bazaar",
        "HOST": "127.0.0.1",
        "PORT": str(server.port),
    }
    schema = f"test_{secrets.token_hex(4)}"
    with _known(POSTGRESQL, {**given, "OPTIONS": {"options": f"-c search_path={schema}"}}) as alias:
        execute(alias, f"CREATE SCHEMA {schema}")
        call_command("migrate", "flotilla_realtime", database=alias, verbosity=0)
        try:
            yield alias
        finally:
            connections[alias].close()
            execute(alias, f"DROP SCHEMA {schema} CASCADE")


@contextmanager
def mysql(address: str) -> Iterator[str]:
    """A new database of a MySQL or MariaDB at `host:port`, whose user `bazaar` may do all, with the outbox in it; gives
    the alias."""
    host, _, port = address.partition(":")
    name = f"test_{secrets.token_hex(4)}"
    given = {"ENGINE": "django.db.backends.mysql", "NAME": "", "USER": "bazaar", "HOST": host, "PORT": port}
    with _known(MYSQL, given) as alias:
        execute(alias, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    with _known(MYSQL, {**given, "NAME": name}) as alias:
        call_command("migrate", "flotilla_realtime", database=alias, verbosity=0)
        try:
            yield alias
        finally:
            execute(alias, f"DROP DATABASE {name}")


@contextmanager
def _known(begins: str, given: dict[str, Any]) -> Iterator[str]:
    """A database that Django knows under an alias that begins so, and that no test before had: threads that outlive a
    test keep what they were connected to under its alias."""
    alias = f"{begins}_{secrets.token_hex(4)}"
    connections.databases[alias] = connections.configure_settings({"default": given})["default"]
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


def execute(alias: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run a statement; gives its rows."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def until_somebody_waits(alias: str) -> None:
    """Until another connection of a PostgreSQL waits for a lock."""
    wait_until(lambda: execute(alias, "SELECT 1 FROM pg_locks WHERE NOT granted"), "somebody waits for a lock")


def rows(alias: str, channel: str | None = None) -> list[OutboxRow]:
    """The committed rows of a channel, or all, in order, as a relay finds them."""
    give_positions(alias)
    found = OutboxRow.objects.using(alias).order_by("position", "id")
    return list(found if channel is None else found.filter(channel=channel))


def said(alias: str, channel: str | None = None) -> list[bytes]:
    """Their bodies."""
    return [bytes(row.body) for row in rows(alias, channel) if row.body is not None]


class Threads:
    """Threads that have connections of their own, which end with what they do."""

    def __init__(self, alias: str, count: int) -> None:
        self._alias = alias
        self._pool = ThreadPoolExecutor(count)

    def run(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have a thread do something."""
        return self._pool.submit(self._work, work, *arguments)

    def _work(self, work: Callable[..., Result], *arguments: Any) -> Result:
        with closing(connections[self._alias]):
            return work(*arguments)

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


class Undone(Exception):
    """What a test raises for a rollback."""


@contextmanager
def rolled_back(alias: str) -> Iterator[None]:
    """A block whose transaction, or savepoint, is rolled back."""
    try:
        with transaction.atomic(using=alias):
            yield
            raise Undone
    except Undone:
        return
