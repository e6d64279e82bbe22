"""The outbox in pages: each row once, in the order of its list, whatever comes meanwhile; and one row by its name."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flotilla.realtime.api import outbox
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.backlog import databases
from flotilla.realtime.outbox.rows import write
from tests.realtime.outbox.writing import write_change

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def filled(using: str) -> None:
    """Seven rows in each state; those that were sent, or set aside, in two batches."""
    for number in range(21):
        write(f"chat:{number % 2}", b'{"data":%d}' % number, {}, using=using)
    for number, row in enumerate(OutboxRow.objects.using(using).order_by("id")):
        at = NOON + timedelta(seconds=number // 3, microseconds=7)
        change: dict[str, Any] = ({"sent_at": at, "epoch": "e", "offset": 5}, {"failed_at": at, "error": "big"}, {})[
            number // 7
        ]
        OutboxRow.objects.using(using).filter(pk=row.pk).update(**change)


def paged(using: str, **asked: Any) -> Iterator[dict[str, Any]]:
    """All rows of a list, a few at a time."""
    after = ""
    for _ in range(20):
        page = outbox.rows(using, after=after, limit=3, **asked)
        assert page.total is None  # nothing was counted
        yield from page.rows
        after = page.next
        if not after:
            return
    raise AssertionError("it has no end")


@pytest.mark.parametrize(("state", "numbers"), [
    ("", range(20, -1, -1)),
    ("sent", range(6, -1, -1)),
    ("set aside", range(13, 6, -1)),
    ("waiting", range(14, 21)),
])  # fmt: skip
def test_pages_have_each_row_once_in_order(database: str, state: str, numbers: range) -> None:
    filled(database)
    ids = list(OutboxRow.objects.using(database).order_by("id").values_list("id", flat=True))
    assert [row["id"] for row in paged(database, state=state)] == [ids[number] for number in numbers]
    of_one = [row["id"] for row in paged(database, state=state, channel="chat:1")]
    assert of_one == sorted((ids[number] for number in numbers if number % 2), reverse=True)
    assert not list(paged(database, state=state, channel="chat:"))


def test_a_row_says_what_it_is(database: str) -> None:
    filled(database)
    before = time.time()
    write_change("board:1", "7", "set", live="shop.Order", body=None, using=database)
    (row,) = outbox.rows(database, channel="board:1").rows
    assert tuple(row) == outbox.ROW
    assert (row["row"], row["database"], row["state"]) == (f"{database}:{row['id']}", database, "waiting")
    assert (row["key"], row["operation"], row["live"]) == ("7", "set", "shop.Order")
    assert before - 5 < row["written_at"] < time.time() + 5
    assert (row["sent_at"], row["failed_at"]) == (0.0, 0.0)
    sent, *_ = outbox.rows(database, state="sent").rows
    assert (sent["sent_at"], sent["epoch"], sent["offset"]) == (NOON.timestamp() + 2.000007, "e", 5)
    aside, *_ = outbox.rows(database, state="set aside").rows
    assert (aside["state"], aside["error"]) == ("set aside", "big")


def test_one_row_is_found_by_its_name_with_the_beginning_of_its_body(database: str) -> None:
    write("chat:a", b'{"data":"%s"}' % ("é" * 9000).encode(), {"tags": {"a": "b"}}, using=database)
    pk = outbox.rows(database).rows[0]["id"]
    found = outbox.row(*outbox.row_named(f" {database}:{pk} "))
    assert found is not None and "beginning" not in found
    assert (found["bytes"], found["keywords"]) == (18_011, {"tags": {"a": "b"}})
    found = outbox.row(database, pk, body=True)
    assert found is not None
    assert found["beginning"] == b'{"data":"%s' % ("é" * 9000).encode()[: outbox.MAX_BODY - 9]
    assert outbox.row(database, pk + 1) is None


def test_an_id_alone_is_of_the_first_database_and_what_can_be_no_row_is_refused(on_sqlite: str) -> None:
    assert outbox.row_named("17") == ("default", 17)
    assert databases() == ["default", on_sqlite]
    for name in (
        "",
        "x",
        "default:",
        "default:-1",
        "default:1.5",
        f"default:{2**63}",
        f"default:{'9' * 5000}",
        "default:٣",
    ):
        with pytest.raises(ValueError, match="is not the id of a row of the outbox"):
            outbox.row_named(name)
    for name in ("other:1", ":1", "a:b:1"):
        with pytest.raises(ValueError, match="has an outbox; there is default, outbox_sqlite"):
            outbox.row_named(name)


@pytest.mark.parametrize("after", ["x", "-1", "1.x", "9" * 19, "9" * 5000, "1.2.3", "٣", "\0", f"{2**62}.1"])
def test_a_cursor_that_is_none_is_answered(database: str, after: str) -> None:
    filled(database)
    for state in ("", *outbox.STATES):
        for channel in ("", "chat:1"):
            outbox.rows(database, state=state, channel=channel, after=after)


def test_what_was_set_aside_is_tried_again_or_dropped(database: str) -> None:
    filled(database)
    first, second, *others = (row["id"] for row in outbox.rows(database, state="set aside").rows)
    waiting = outbox.rows(database, state="waiting").rows[0]["id"]
    assert outbox.drop(database, first)
    assert not outbox.drop(database, first)
    assert not outbox.retry(database, first)
    assert outbox.row(database, first) is None
    assert not outbox.drop(database, waiting) and not outbox.retry(database, waiting)
    assert outbox.row(database, waiting) is not None
    assert outbox.retry(database, second)
    assert outbox.retry_all(database) == len(others) == 5
    assert outbox.retry_all(database) == 0
    assert not outbox.rows(database, state="set aside").rows
    assert len(outbox.rows(database, state="waiting").rows) == 7 + 6
