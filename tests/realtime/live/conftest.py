"""Databases with the desk's tables, empty for each test, and live models for one test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management.color import no_style
from django.db import connections

from flotilla import live
from flotilla.realtime.live import registry
from tests.host.support.postgres import Postgres
from tests.realtime.live.support import Desk, Show
from tests.realtime.outbox.conftest import postgres_server  # noqa: F401
from tests.realtime.outbox.databases import postgresql, sqlite


@pytest.fixture(scope="module")
def module_on_postgresql(postgres_server: Postgres, django_db_blocker: Any) -> Iterator[str]:  # noqa: F811
    with django_db_blocker.unblock(), postgresql(postgres_server) as alias:
        _make_tables(alias)
        yield alias


@pytest.fixture(scope="module")
def module_on_sqlite(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("sqlite")
    with django_db_blocker.unblock(), sqlite(folder) as alias:
        _make_tables(alias)
        yield alias


@pytest.fixture(params=["module_on_postgresql", "module_on_sqlite"])
def desk(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[Desk]:
    """On either database."""
    with django_db_blocker.unblock():
        yield _emptied(str(request.getfixturevalue(request.param)))


@pytest.fixture
def postgresql_desk(module_on_postgresql: str, django_db_blocker: Any) -> Iterator[Desk]:
    with django_db_blocker.unblock():
        yield _emptied(module_on_postgresql)


@pytest.fixture
def sqlite_desk(module_on_sqlite: str, django_db_blocker: Any) -> Iterator[Desk]:
    with django_db_blocker.unblock():
        yield _emptied(module_on_sqlite)


def _make_tables(alias: str) -> None:
    with connections[alias].schema_editor() as editor:
        for app in ("desk", "board"):  # the example has a live model as well, whose table triggers are made for
            for model in apps.get_app_config(app).get_models():
                if not model._meta.proxy:
                    editor.create_model(model)


def _emptied(alias: str) -> Desk:
    tables = [model._meta.db_table for model in apps.get_app_config("desk").get_models(include_auto_created=True)]
    statements = connections[alias].ops.sql_flush(
        no_style(), [*dict.fromkeys(tables), "flotilla_outbox"], reset_sequences=True
    )
    connections[alias].ops.execute_sql_flush(statements)
    return Desk(alias)


@pytest.fixture
def show() -> Iterator[Show]:
    """Registers a live model for the test."""
    made: list[Any] = []

    def register(declared: Any, *channels: Any) -> Any:
        live(*channels)(declared)
        one = next(one for one in registry.all_live() if type(one) is declared)
        made.append(one)
        return one

    yield register
    for one in made:
        registry.forget(one)
