"""`manage.py outbox`: what waits and what was set aside, of each database; trying it again, and dropping it."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.utils import timezone

from flotilla.command_line import Status
from flotilla.realtime.management.commands import outbox as command
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.rows import write
from flotilla.store.shards import reset_store
from tests.realtime.management.shell import document, failing, run

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


@sync_to_async
def written(channel: str, using: str = "default", **columns: Any) -> str:
    """A row of the outbox, as it is named."""
    write(channel, b'{"data":1}', {}, using=using)
    row = OutboxRow.objects.using(using).latest("id")
    OutboxRow.objects.using(using).filter(pk=row.pk).update(**columns)
    return f"{using}:{row.pk}"


async def aside(channel: str, **columns: Any) -> str:
    """One that was set aside."""
    return await written(channel, failed_at=timezone.now(), attempts=5, error="too large\x1b[2J", **columns)


async def test_what_waits_and_what_was_set_aside_is_shown(configured: Any) -> None:
    """Of what waits the count alone, unless it is asked for; nothing moves the terminal's cursor."""
    said = await run("outbox")
    assert said.splitlines()[0].split() == ["DATABASE", "WAITING", "OLDEST", "SET", "ASIDE"]
    assert said.splitlines()[1].split() == ["default", "0", "-", "0"]
    assert len(said.splitlines()) == 2
    waits, failed = await written("chat:a"), await aside("chat:b")
    said = await run("outbox")
    first, last = said.splitlines()[1], said.splitlines()[-1]
    assert first.split() == ["default", "1", "0", "s", "1"]
    assert last.split()[:4] == [failed, "chat:b", "set", "aside"]
    assert "too large\ufffd[2J" in last and waits not in said
    assert (await run("outbox", "--state", "waiting")).splitlines()[-1].split()[:3] == [waits, "chat:a", "waiting"]
    told = await document("outbox", "--state", "any")
    assert told["databases"] == [
        {"database": "default", "waiting": 1, "oldest": told["databases"][0]["oldest"], "set_aside": 1}
    ]
    assert [row["row"] for row in told["rows"]] == [failed, waits]
    assert tuple(told["rows"][0]) == command.ROW
    assert (told["next"], told["retried"], told["dropped"]) == ("", None, None)
    assert [row["row"] for row in (await document("outbox", "--state", "any", "--channel", "chat:a"))["rows"]] == [
        waits
    ]


async def test_pages_hold_every_row_once(configured: Any) -> None:
    names = [await aside(f"chat:{number}") for number in range(7)]
    seen, after = [], ""
    for _ in range(3):
        told = await document("outbox", "--limit", "3", *(("--after", after) if after else ()))
        seen += [row["row"] for row in told["rows"]]
        after = told["next"]
    assert (after, seen) == ("", names[::-1])
    assert (await run("outbox", "--limit", "3")).splitlines()[-1].startswith("more: --after ")


async def test_rows_are_tried_again_and_dropped(configured: Any) -> None:
    """One, or all of them; each deed is in the journal."""
    first, second, third, fourth = [await aside(f"chat:{number}") for number in range(4)]
    waits = await written("chat:a")
    assert await run("outbox", "--retry", first) == "1 tried again\n"
    assert await run("outbox", "--drop", second.partition(":")[2]) == "1 dropped\n"
    assert (await document("outbox", "--drop", third))["dropped"] == 1
    told = await document("outbox", "--retry", "all")
    assert (told["retried"], told["dropped"], told["rows"]) == (1, None, None)
    assert await run("outbox", "--retry", "all") == "nothing was set aside\n"
    assert (await document("outbox", "--retry", "all"))["retried"] == 0
    for name in (first, second, fourth, waits):
        said = await failing("outbox", "--drop", name)
        assert said == f"{name} is none of the rows that were set aside."
    waiting = await document("outbox", "--state", "waiting")
    assert [row["channel"] for row in waiting["rows"]] == ["chat:a", "chat:0", "chat:3"]
    journal = await run("changes")
    for words in (f"outbox --retry {first}", f"outbox --drop {third}", "outbox --retry all"):
        assert words in journal
    assert f"outbox --drop {waits}" not in journal


async def test_a_line_that_makes_no_sense_is_told_from_what_cannot_be_done(configured: Any) -> None:
    for words in (("--retry", "x"), ("--drop", "other:1"), ("--drop", "all"), ("--database", "other")):
        await failing("outbox", *words, status=Status.USAGE)
    assert "there is default" in await failing("outbox", "--database", "other", status=Status.USAGE)


async def test_of_several_databases_all_are_counted(configured: Any, on_sqlite: str) -> None:
    """Rows are those of one."""
    here, there = await aside("chat:here"), await written("chat:there", on_sqlite, failed_at=timezone.now())
    told = await document("outbox")
    assert [(one["database"], one["set_aside"]) for one in told["databases"]] == [("default", 1), (on_sqlite, 1)]
    assert [row["row"] for row in told["rows"]] == [here]
    told = await document("outbox", "--database", on_sqlite)
    assert [one["database"] for one in told["databases"]] == [on_sqlite]
    assert [row["row"] for row in told["rows"]] == [there]
    assert (await document("outbox", "--retry", "all", "--database", on_sqlite))["retried"] == 1
    assert (await document("outbox", "--retry", "all"))["retried"] == 1


async def test_a_count_that_ends_says_so(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MOST", 1)
    await written("chat:a")
    assert "1 or more" in await run("outbox")


async def test_without_redis_it_works_and_says_that_the_journal_has_nothing(
    configured: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = await aside("chat:a")
    configured.REDIS_URLS = [f"unix://{tmp_path}/nobody.sock"]
    reset_store()
    assert failed in await run("outbox")
    assert await run("outbox", "--retry", failed) == "1 tried again\n"
    assert "not in the journal" in capsys.readouterr().err


async def test_a_database_that_does_not_answer_is_said(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("connection refused\nIs it running?")

    monkeypatch.setattr(command, "backlog", away)
    said = await failing("outbox", status=Status.AWAY)
    assert said == "The database does not answer: connection refused. Was it migrated (`manage.py migrate`)?"
