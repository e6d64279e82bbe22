"""Rows are written in the caller's transaction, and of a live model's row the newest change alone."""

import json
from collections.abc import Callable, Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import transaction

from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.rows import PAGE, Change, write, write_changes
from flotilla.realtime.outbox.wake import written
from tests.cluster.support.documents import snippets
from tests.realtime.outbox.databases import SQLITE, execute, rolled_back, rows, said
from tests.realtime.outbox.writing import write_change


@pytest.fixture
def woken() -> Iterator[list[str]]:
    """The databases that were told of."""
    told: list[str] = []

    def receive(using: str, **_: object) -> None:
        told.append(using)

    written.connect(receive)
    yield told
    written.disconnect(receive)


def tell(database: str, channel: str, key: str, operation: str = "set", body: bytes | None = b"{}") -> None:
    write_change(channel, key, operation, live="app.Thing", body=body, using=database)  # type: ignore[arg-type]


def changes(database: str) -> list[tuple[str, str, str, bytes | None]]:
    return [
        (row.channel, row.key, row.operation, None if row.body is None else bytes(row.body)) for row in rows(database)
    ]


def test_row_is_committed_with_its_transaction(database: str, woken: list[str]) -> None:
    with transaction.atomic(using=database):
        write("news", b'{"data":1}', {"skip_history": True, "version": 0}, using=database)
        assert woken == []
    (row,) = rows(database)
    assert (row.channel, bytes(row.body or b""), row.keywords) == ("news", b'{"data":1}', {"skip_history": True})
    assert row.position is not None and row.sent_at is None and row.operation == "publish" and row.written_at
    assert woken == [database]


def test_autocommit_is_a_transaction_of_its_own(database: str, woken: list[str]) -> None:
    write("news", b"1", {}, using=database)
    write("news", b"2", {}, using=database)
    assert said(database) == [b"1", b"2"]
    assert woken == [database, database]


def test_rolled_back_row_is_gone(database: str, woken: list[str]) -> None:
    with rolled_back(database):
        write("news", b"1", {}, using=database)
    assert rows(database) == [] and woken == []


def test_savepoint_takes_its_rows_with_it(database: str, woken: list[str]) -> None:
    with transaction.atomic(using=database):
        with rolled_back(database):
            write("news", b"1", {}, using=database)
        with transaction.atomic(using=database):
            write("news", b"2", {}, using=database)
        with rolled_back(database):
            write("news", b"3", {}, using=database)
        write("news", b"4", {}, using=database)
    assert said(database) == [b"2", b"4"]
    assert woken == [database]


def test_newest_change_of_a_row_is_kept(database: str) -> None:
    with transaction.atomic(using=database):
        tell(database, "board:1", "7", body=b"1")
        tell(database, "board:2", "7", body=b"2")
        tell(database, "board:1", "8", body=b"3")
        tell(database, "board:1", "7", "remove", None)
        write("board:1", b"4", {}, using=database)
        write("board:1", b"5", {}, using=database)
    assert sorted(changes(database), key=repr) == [
        ("board:1", "", "publish", b"4"),
        ("board:1", "", "publish", b"5"),
        ("board:1", "7", "remove", None),
        ("board:1", "8", "set", b"3"),
        ("board:2", "7", "set", b"2"),
    ]


def test_changes_of_two_transactions_are_two(database: str) -> None:
    tell(database, "board:1", "7", body=b"1")
    tell(database, "board:1", "7", body=b"2")
    assert said(database) == [b"1", b"2"]


def test_change_in_a_hook_of_the_commit_is_another_transactions(database: str) -> None:
    """A hook that comes before ours, and leaves through the same decorated function."""

    @transaction.atomic(using=database)
    def change(body: bytes, hook: Callable[[], None] | None = None) -> None:
        if hook is not None:
            transaction.on_commit(hook, using=database)
        tell(database, "board:1", "7", body=body)

    change(b"1", lambda: change(b"2"))
    assert said(database) == [b"1", b"2"]


def test_change_before_a_rolled_back_savepoint_is_the_newest(database: str) -> None:
    with transaction.atomic(using=database):
        tell(database, "board:1", "7", body=b"1")
        with rolled_back(database):
            tell(database, "board:1", "7", body=b"2")
            tell(database, "board:1", "8", body=b"3")
    assert changes(database) == [("board:1", "7", "set", b"1")]


def test_reload_takes_the_place_of_changes_before(database: str) -> None:
    with transaction.atomic(using=database):
        tell(database, "board:1", "7")
        tell(database, "board:2", "7")
        write("board:1", b"1", {}, using=database)
        tell(database, "board:1", "", "reload", None)
        tell(database, "board:1", "", "reload", None)
        tell(database, "board:1", "8")
    assert changes(database)[-2:] == [("board:1", "", "reload", None), ("board:1", "8", "set", b"{}")]
    assert len(changes(database)) == 4


def test_many_changes_are_written_in_pages(database: str) -> None:
    many = [Change(f"board:{number % 3}", str(number), "set", "app.Thing", b"%d" % number) for number in range(1234)]
    with transaction.atomic(using=database):
        write_changes(many, using=database)
        write_changes([*many, Change("board:0", "", "reload")][600:], using=database)
    found = changes(database)
    assert len(found) == 1235 - 412
    assert {one[1] for one in found if one[0] == "board:0"} == {""}
    assert PAGE < 1234


def test_key_is_published_once(database: str) -> None:
    write("news", b"1", {"idempotency_key": "a"}, using=database)
    write("news", b"2", {"idempotency_key": "a" * 500}, using=database)
    write("news", b"3", {"idempotency_key": "a"}, using=database)
    write("other", b"4", {"idempotency_key": "a"}, using=database)
    with rolled_back(database):
        write("news", b"5", {"idempotency_key": "b"}, using=database)
    write("news", b"6", {"idempotency_key": "b"}, using=database)
    assert sorted(said(database)) == [b"1", b"2", b"4", b"6"]


def test_what_cannot_be_kept_is_refused_and_the_transaction_goes_on(database: str) -> None:
    with transaction.atomic(using=database):
        for channel, key in (("x" * 256, "1"), ("x\0", "1"), ("x", "1" * 256), ("x", "")):
            with pytest.raises(ValueError, match=r"outbox|a change has a key"):
                tell(database, channel, key)
        with pytest.raises(ValueError, match="a change has a key"):
            tell(database, "x", "1", "reload")
        write("news", b"1", {}, using=database)
    assert said(database) == [b"1"]


def test_row_of_plain_sql_is_a_whole_one(database: str) -> None:
    quoted = "'{\"data\":1}'" if not database.startswith(SQLITE) else "CAST('{\"data\":1}' AS BLOB)"
    execute(database, f"INSERT INTO flotilla_outbox (channel, body) VALUES ('news', {quoted})")
    (row,) = rows(database)
    assert row.position is not None and row.keywords == {} and row.operation == "publish" and row.written_at
    assert bytes(row.body or b"") == b'{"data":1}'
    assert OutboxRow.objects.using(database).filter(sent_at=None, failed_at=None, attempts=0, error="").count() == 1


def test_row_of_the_document_is_a_publication(on_postgresql: str) -> None:
    (statement,) = snippets("PUBLISHING.md", "sql")
    execute(on_postgresql, statement)
    (row,) = rows(on_postgresql, "order:7")
    assert json.loads(bytes(row.body or b"")) == {"data": {"state": "paid"}}


def test_missing_table_says_what_to_run(database: str) -> None:
    call_command("migrate", "flotilla_realtime", "0002", database=database, verbosity=0)
    with pytest.raises(ImproperlyConfigured, match=f"migrate flotilla_realtime --database {database}"):
        write("news", b"1", {}, using=database)
    call_command("migrate", "flotilla_realtime", database=database, verbosity=0)
    write("news", b"1", {}, using=database)
    assert said(database) == [b"1"]
