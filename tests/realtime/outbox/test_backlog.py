"""What an outbox holds back: counted by its indexes, never further than it is told, and only where it was committed."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.models.functions import Now

from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox import backlog as module
from flotilla.realtime.outbox.backlog import Backlog, backlog, databases, rows_set_aside, waiting_rows
from flotilla.realtime.outbox.rows import write


@pytest.fixture
def explained(database: str) -> Iterator[list[str]]:
    """The plans of the queries that are made, with a table of which nearly all rows were sent long ago."""
    given = [OutboxRow(channel=f"chat:{number % 50}", body=b"{}", sent_at=Now()) for number in range(3000)]
    OutboxRow.objects.using(database).bulk_create(given)
    for number in range(20):
        write(f"chat:{number}", b"{}", {}, using=database)
    OutboxRow.objects.using(database).filter(pk__in=waiting_rows(database).values("pk")[:3]).update(failed_at=Now())
    connection = connections[database]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    plans: list[str] = []

    def explain(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        if sql.startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.cursor.execute(f"{EXPLAIN[connection.vendor]} {sql}", params)
                plans.append("\n".join(str(line) for line in cursor.cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield plans


EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}


def test_it_says_how_much_waits_since_when_and_what_was_set_aside(database: str) -> None:
    assert backlog(database) == Backlog(0, 0.0, 0)
    for number in range(3):
        write("chat:a", f'{{"data":{number}}}'.encode(), {}, using=database)
    first, second, third = waiting_rows(database)
    ago = Now() - timedelta(seconds=90)
    OutboxRow.objects.using(database).filter(pk=first.pk).update(written_at=ago)
    found = backlog(database)
    assert (found.waiting, found.set_aside) == (3, 0)
    assert 90 <= found.oldest < 120
    OutboxRow.objects.using(database).filter(pk=first.pk).update(sent_at=Now())
    OutboxRow.objects.using(database).filter(pk=second.pk).update(failed_at=Now(), error="too large")
    found = backlog(database)
    assert (found.waiting, found.set_aside) == (1, 1)
    assert found.oldest < 60
    assert [row.pk for row in rows_set_aside(database)] == [second.pk]
    assert [row.pk for row in waiting_rows(database)] == [third.pk]


def test_what_is_not_committed_does_not_wait(database: str) -> None:
    with transaction.atomic(using=database):
        write("chat:a", b"{}", {}, using=database)
        transaction.set_rollback(True, using=database)
    assert backlog(database).waiting == 0


def test_it_counts_no_further_than_it_says(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    for number in range(5):
        write(f"chat:{number}", b"{}", {}, using=database)
    assert backlog(database).waiting == 2
    OutboxRow.objects.using(database).update(failed_at=Now())
    assert backlog(database).set_aside == 2


def test_a_look_reads_no_row_that_was_sent(database: str, explained: list[str]) -> None:
    """Each question by its own index, which has only the rows it is about."""
    found = backlog(database)
    assert (found.waiting, found.set_aside) == (17, 3)
    waiting, first, set_aside = (plan for plan in explained if "flotilla_outbox" in plan)
    assert "flotilla_outbox_waiting" in waiting and "flotilla_outbox_waiting" in first
    assert "flotilla_outbox_failed" in set_aside
    assert not any("Seq Scan" in plan for plan in explained)


def test_a_database_that_hangs_is_given_up(on_postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it can be told so: another session has the whole table locked."""
    write("chat:a", b"{}", {}, using=on_postgresql)
    other = connections[on_postgresql].copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("LOCK TABLE flotilla_outbox IN ACCESS EXCLUSIVE MODE")
        with monkeypatch.context() as short, pytest.raises(DatabaseError, match="timeout"):
            short.setattr(module, "WITHIN", 0.2)
            backlog(on_postgresql)
    finally:
        other.close()
    assert backlog(on_postgresql).waiting == 1


class NotHere:
    """A router that keeps our tables out of a database."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool | None:
        return False if app_label == "flotilla_realtime" and db.startswith("outbox_") else None


def test_databases_are_those_that_may_have_the_table(on_sqlite: str, settings: object) -> None:
    """The default one first."""
    assert databases() == ["default", on_sqlite]
    settings.DATABASE_ROUTERS = [f"{__name__}.NotHere"]  # type: ignore[attr-defined]
    assert databases() == ["default"]
