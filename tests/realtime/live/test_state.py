"""The state of a channel: position, rows and version belong together, and pages join without a seam."""

import json
import random
import threading
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from flotilla import history, publish
from flotilla.realtime.live import registry, state, state_cursor, state_tag
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.rows import Change, write_changes
from tests.realtime.live.state_rows import Note, NoteLive, SerializedLive, Ticket, TicketLive, saved, told
from tests.realtime.live.states import *  # noqa: F403  fixtures
from tests.realtime.live.states import Get, all_pages, rows, shown
from tests.realtime.outbox.databases import Threads
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

# What it says


def test_rows_version_and_position(board: str, get: Get) -> None:
    publish("pane:1", {"some": "thing"})
    first = saved(board, "first")
    saved(board, "of another board", board=2)
    second = saved(board, "second")
    answer = get()
    where = history("pane:1", limit=0)
    said = answer.json()
    assert (said["epoch"], said["offset"]) == (where.epoch, where.offset)
    assert said["version"] == OutboxRow.objects.using(board).filter(channel="pane:1").latest("position").position
    assert rows(answer) == [
        (str(first.pk), {"id": first.pk, "title": "first"}),
        (str(second.pk), {"id": second.pk, "title": "second"}),
    ]
    assert "next" not in said and "removed" not in said
    assert answer["Content-Type"] == "application/json"


def test_a_channel_without_rows_has_an_empty_state(board: str, get: Get) -> None:
    said = get("pane:77").json()
    assert (said["rows"], said["version"], said["offset"]) == ([], 0, 0)


def test_pages_of_several_live_models(board: str, get: Get) -> None:
    with shown(NoteLive, "pane:{board_id}"):
        for number in range(3):
            saved(board, f"ticket {number}")
            Note.objects.using(board).create(name=f"{number}:*/?", board_id=1)
        one = get()
        for limit in (1, 2, 3, 4, 6, 1000):
            assert [row for page in all_pages(get, limit) for row in page["rows"]] == one.json()["rows"]
        assert {key for key, _ in rows(one)} >= {"note-0:*/?", "note-1:*/?", "note-2:*/?"}
        assert len(rows(one)) == 6


def test_rows_by_a_serializer(board: str, get: Get) -> None:
    saved(board, "quiet")
    registry.forget(TicketLive())
    with shown(SerializedLive, "pane:{board_id}"):
        assert [data["shouted"] for _, data in rows(get())] == ["QUIET"]


def test_a_page_is_bounded_in_bytes(board: str, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_BYTES", 100)
    for number in range(10):
        saved(board, f"{number}" * 60)
    pages = all_pages(get, 1000)
    assert [len(page["rows"]) for page in pages] == [2, 2, 2, 2, 2, 0]


def test_a_page_is_bounded_in_time(board: str, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state._Rows, "_full", lambda self: bool(self.rows))
    for number in range(3):
        saved(board, f"{number}")
    assert [data["title"] for page in all_pages(get, 1000) for _, data in pairs(page)] == ["0", "1", "2"]


def pairs(page: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(row["key"], row["data"]) for row in page["rows"]]


def test_the_last_page_makes_all_of_them_as_new_as_it_is(board: str, get: Get) -> None:
    tickets = [saved(board, f"{number}") for number in range(5)]
    first = get(query="?limit=2").json()
    with transaction.atomic(using=board):
        for row in (tickets[0], tickets[4]):
            told(board, row, "remove")
            row.delete(using=board)
        tickets[1].title = "changed"
        tickets[1].save(using=board)
        told(board, tickets[1])
        new = saved(board, "new")
    query = f"?limit=2&since={first['version']}"
    later = get(query=f"{query}&after={first['next']}").json()
    assert [row["key"] for row in later["rows"]] == [str(tickets[2].pk), str(tickets[3].pk)]
    assert "changed" not in later
    last = get(query=f"{query}&after={later['next']}").json()
    assert [data["title"] for _, data in pairs(last)] == ["new"]
    assert last["removed"].keys() == later["removed"].keys() == {"1", "5"}
    found = {row["key"]: row["data"]["title"] for row in last["changed"]}
    assert found == {str(tickets[1].pk): "changed", str(new.pk): "new"}
    assert all(first["version"] < version <= last["version"] for version in last["removed"].values())


def test_a_change_of_a_row_that_is_gone_is_a_removal(board: str, get: Get) -> None:
    """As when only the database saw it: what it became is found out when it is sent."""
    tickets = [saved(board, f"{number}") for number in range(2)]
    first = get(query="?limit=1").json()
    told(board, tickets[0])
    tickets[0].delete(using=board)
    last = get(query=f"?after={first['next']}&since={first['version']}").json()
    assert last["removed"] == {"1": last["version"]}
    assert last["changed"] == []


def test_changes_of_several_live_models(board: str, get: Get) -> None:
    with shown(NoteLive, "pane:{board_id}"):
        tickets = [saved(board, f"{number}") for number in range(2)]
        first = get(query="?limit=1").json()
        Note.objects.using(board).create(name="n", board_id=1)
        write_changes([Change("pane:1", "note-n", "set", "state_tests.NoteLive")], using=board)
        told(board, tickets[0])
        pages = all_pages(get, 1000)
        assert len(pages) == 1
        last = get(query=f"?after={first['next']}&since={first['version']}").json()
        assert {row["key"] for row in last["changed"]} == {"note-n", str(tickets[0].pk)}


def test_what_later_pages_cannot_say_begins_again(board: str, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = [saved(board, f"{number}") for number in range(4)]
    first = get(query="?limit=1").json()
    query = f"?limit=1&after={first['next']}&since={first['version']}"
    monkeypatch.setattr(state, "MOST_CHANGED", 1)
    told(board, tickets[2], "remove")
    assert get(query=query).status_code == 200
    told(board, tickets[3], "remove")
    assert get(query=query).status_code == 410
    monkeypatch.setattr(state, "MOST_CHANGED", 1000)
    assert get(query=query).status_code == 200
    told(board, tickets[1])
    last = query.replace("limit=1", "limit=1000")
    assert get(query=last).status_code == 200
    monkeypatch.setattr(state, "MOST_BYTES_CHANGED", 1)
    told(board, tickets[1])
    assert get(query=last).status_code == 410
    monkeypatch.setattr(state, "MOST_BYTES_CHANGED", 1000)
    write_changes([Change("pane:1", "", "reload", "state_tests.TicketLive")], using=board)
    assert get(query=query).status_code == 410


def test_a_cursor_holds_for_a_while(board: str, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(board, "one")
    saved(board, "two")
    first = get(query="?limit=1").json()
    now = time.time()
    monkeypatch.setattr(state_cursor.time, "time", lambda: now + state_cursor.GOOD_FOR + 100)
    assert get(query=f"?after={first['next']}&since=0").status_code == 410


def test_a_page_holds_exactly_the_changes_up_to_its_version(board: str, get: Get, django_db_blocker: Any) -> None:
    """Writers change random rows in transactions of several, a third of them rolled back; what pages say together is
    what replaying the changes up to the last one's version gives."""
    keys = [saved(board, "0").pk for _ in range(6)]
    end = threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        while not end.is_set():
            with suppress(IntegrityError), transaction.atomic(using=board):  # two put a row back at once
                for key in sorted(chance.sample(keys, 2)):
                    if board.endswith("postgresql"):
                        found = list(Ticket.objects.using(board).select_for_update().filter(pk=key))
                    else:
                        found = list(Ticket.objects.using(board).filter(pk=key))
                    row = found[0] if found else Ticket(pk=key, board_id=1)
                    if found and chance.random() < 0.3:
                        change(row, "remove")
                        Ticket.objects.using(board).filter(pk=key).delete()
                    else:
                        row.title = str(chance.random())
                        row.save(using=board, force_insert=not found)
                        change(row, "set")
                if chance.random() < 0.3:
                    transaction.set_rollback(True, using=board)
            time.sleep(0)

    def change(row: Ticket, operation: Any) -> None:
        body = json.dumps({"id": row.pk, "title": row.title}).encode() if operation == "set" else None
        write_changes([Change("pane:1", str(row.pk), operation, "state_tests.TicketLive", body)], using=board)

    with django_db_blocker.unblock(), Threads(board, 3) as threads:
        writers = [threads.run(write, seed) for seed in range(3)]
        pages: list[dict[str, Any]] = []
        began = time.monotonic()

        def enough() -> bool:
            """Pages of several versions, and more of them where that goes quickly."""
            pages.append(joined(all_pages(get, (1000, 2)[len(pages) % 2])))
            different = len({page["version"] for page in pages}) > 5
            return different and (len(pages) >= 150 or time.monotonic() > began + 4)

        try:
            wait_until(enough, "pages of several versions", every=0)
        finally:
            end.set()
        for writer in writers:
            writer.result()
    log = OutboxRow.objects.using(board).filter(channel="pane:1").order_by("position")
    changes = [(row.position, row.key, row.operation, row.body) for row in log]
    for page in pages:
        replayed: dict[str, Any] = {str(key): "0" for key in keys}
        for position, key, operation, body in changes:
            if position is not None and position <= page["version"] and body is not None:
                replayed[key] = json.loads(bytes(body))["title"]
            elif position is not None and position <= page["version"] and operation == "remove":
                replayed.pop(key, None)
        assert page["titles"] == replayed


def joined(pages: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client makes of pages: titles by key, and their version."""
    titles: dict[str, str] = {}
    for page in pages:
        for key in page.get("removed", ()):
            titles.pop(key, None)
        titles |= {row["key"]: row["data"]["title"] for row in page["rows"] + page.get("changed", [])}
    return {"version": pages[-1]["version"], "titles": titles}


# Confirmed without reading


def test_a_page_is_confirmed_without_reading_its_rows(board: str, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    publish("pane:1", "begun")
    saved(board, "one")
    first = get()
    tag = first["ETag"]
    monkeypatch.setattr(state, "rendered", lambda *_: pytest.fail("rows were read"))
    assert get().content == first.content
    for said in (tag, f"W/{tag}", f'"other", {tag}'):
        again = get(**{"If-None-Match": said})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
        assert again["Cache-Control"] == "private, no-cache"
    monkeypatch.undo()


def test_a_change_that_is_not_sent_yet_and_one_that_was_make_another_page(board: str, get: Get) -> None:
    publish("pane:1", "begun")
    tags = {get()["ETag"]}
    saved(board, "one")
    tags.add(get()["ETag"])
    publish("pane:1", "sent")
    OutboxRow.objects.using(board).all().delete()
    tags.add(get()["ETag"])
    tags.add(get(query="?limit=7")["ETag"])
    assert len(tags) == 4


def test_who_is_given_a_page_that_was_kept_has_time_for_those_behind_it(
    board: str, get: Get, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REALTIME = settings.REALTIME | {"outbox_keep": 200}  # cursors hold for half of that
    for title in "ab":
        saved(board, title)
    began = time.time() // 600 * 600 + 600
    now = [began]
    for module in (state, state_cursor, state_tag):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now[0], monotonic=time.monotonic))
    assert get(query="?limit=1").status_code == 200
    now[0] = began + 90
    first = get(query="?limit=1").json()
    now[0] += 40
    second = get(query=f"?limit=1&after={first['next']}&since={first['version']}")
    assert [data["title"] for _, data in rows(second)] == ["b"]
