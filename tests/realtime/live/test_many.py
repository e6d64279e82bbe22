"""Changes of many rows by one call."""

from typing import Any

import pytest
from django.db import transaction
from django.db.models import F, Subquery
from django.test.utils import override_settings

from flotilla import LiveModel, live
from tests.realtime.live.desk.models import Author, Board, Label, Plain, Ticket
from tests.realtime.live.support import Desk, Show
from tests.realtime.outbox.databases import execute

PLAIN = "desk.PlainLive"


@pytest.fixture
def board(desk: Desk) -> Board:
    return Board.objects.using(desk.alias).create(name="one")


@pytest.fixture
def other(desk: Desk) -> Board:
    return Board.objects.using(desk.alias).create(name="two")


@pytest.fixture
def rows(desk: Desk, board: Board) -> list[Plain]:
    made = Plain.objects.using(desk.alias).bulk_create([Plain(board=board, title=str(place)) for place in range(3)])
    desk.forget()
    return made


def few(number: int) -> Any:
    return override_settings(REALTIME={"live_bulk_max": number})


def changes(desk: Desk) -> set[tuple[str, str, str]]:
    return {(one.channel, one.operation, one.key) for one in desk.told(live=PLAIN)}


def shelf(board: Board) -> str:
    return f"shelf:{board.pk}"


def agrees(desk: Desk, board: Board) -> None:
    """What was told last of each row is the state."""
    told = {
        one.key: one.data for one in desk.told(live=PLAIN) if one.operation == "set" and one.channel == shelf(board)
    }
    assert told == desk.state(shelf(board))


def test_bulk_create(desk: Desk, board: Board) -> None:
    Plain.objects.using(desk.alias).bulk_create([Plain(board=board, title="a"), Plain(board=board, title="b")])
    agrees(desk, board)


def test_bulk_create_that_ignores_conflicts(desk: Desk, board: Board, rows: list[Plain]) -> None:
    """Nobody knows the new rows' keys: the channel is loaded anew."""
    Plain.objects.using(desk.alias).bulk_create([Plain(board=board, title="z")], ignore_conflicts=True)
    assert changes(desk) == {(shelf(board), "reload", "")}
    again = Plain(pk=rows[0].pk, board=board, title="z")
    Plain.objects.using(desk.alias).bulk_create([again], ignore_conflicts=True)
    assert [one.data["title"] for one in desk.told(live=PLAIN)] == ["0"]


def test_bulk_create_that_updates_conflicts(desk: Desk, board: Board, other: Board) -> None:
    first = Ticket.objects.using(desk.alias).create(board=board, title="a")
    desk.forget()
    Ticket.objects.using(desk.alias).bulk_create(
        [Ticket(code=first.code, board=other, title="b"), Ticket(board=other, title="c")],
        update_conflicts=True,
        unique_fields=["code"],
        update_fields=["board", "title"],
    )
    told = {(one.channel, one.operation, (one.data or {}).get("title")) for one in desk.told()}
    assert told == {
        (f"board:{board.pk}", "remove", None),
        (f"board:{other.pk}", "set", "b"),
        (f"board:{other.pk}", "set", "c"),
    }


def test_bulk_update(desk: Desk, board: Board, other: Board, rows: list[Plain]) -> None:
    rows[0].board = other
    rows[1].position = F("position") + 4  # type: ignore[assignment]
    Plain.objects.using(desk.alias).bulk_update(rows[:2], ["board", "position"])
    told = desk.told(live=PLAIN)
    assert {(one.channel, one.operation, one.key) for one in told} == {
        (shelf(board), "remove", str(rows[0].pk)),
        (shelf(other), "set", str(rows[0].pk)),
        (shelf(board), "set", str(rows[1].pk)),
    }
    assert {one.data["position"] for one in told if one.data} == {0, 4}


def test_update(desk: Desk, board: Board, other: Board, rows: list[Plain]) -> None:
    found = Plain.objects.using(desk.alias).filter(title__in=["0", "1"])
    assert found.update(board=other, title="moved") == 2
    assert changes(desk) == {
        (shelf(board), "remove", str(rows[0].pk)),
        (shelf(board), "remove", str(rows[1].pk)),
        (shelf(other), "set", str(rows[0].pk)),
        (shelf(other), "set", str(rows[1].pk)),
    }
    assert found.count() == 0


def test_update_of_what_is_not_shown(desk: Desk, show: Show, board: Board, rows: list[Plain]) -> None:
    class Titles(LiveModel):
        model = Plain
        fields = ("title",)

    show(Titles, "ticket:{board_id}")
    Plain.objects.using(desk.alias).update(position=4)
    assert desk.told(live="desk.Titles") == []


def test_an_update_of_many_is_one_statement(desk: Desk, board: Board, rows: list[Plain], monkeypatch: Any) -> None:
    """An expression that looks at other rows sees them as they were."""
    monkeypatch.setattr("flotilla.realtime.live.reading.PAGE", 1)
    Plain.objects.using(desk.alias).filter(title="2").update(position=1)
    highest = Plain.objects.using(desk.alias).order_by("-position").values("position")[:1]
    Plain.objects.using(desk.alias).update(position=F("position") + Subquery(highest))
    assert sorted(row.position for row in Plain.objects.using(desk.alias)) == [1, 1, 2]


def test_update_through_a_join(desk: Desk, board: Board, rows: list[Plain]) -> None:
    assert Plain.objects.using(desk.alias).filter(board__name="one").update(position=2) == 3
    agrees(desk, board)


def test_primary_keys_stay(desk: Desk, board: Board, rows: list[Plain]) -> None:
    with pytest.raises(ValueError, match="keep their primary keys"):
        Plain.objects.using(desk.alias).update(id=F("id") + 10)


def test_delete(desk: Desk, board: Board, rows: list[Plain]) -> None:
    count, _ = Plain.objects.using(desk.alias).exclude(title="2").delete()
    assert count == 2
    assert changes(desk) == {(shelf(board), "remove", str(row.pk)) for row in rows[:2]}


def test_related_managers(desk: Desk, board: Board, other: Board) -> None:
    ticket = Ticket.objects.using(desk.alias).create(title="a")
    desk.forget()

    def told() -> set[tuple[str, str]]:
        return {(one.channel, one.operation) for one in desk.told()}

    board.tickets.add(ticket)
    assert told() == {(f"board:{board.pk}", "set")}
    other.tickets.set([ticket])
    assert told() == {(f"board:{board.pk}", "remove"), (f"board:{other.pk}", "set")}
    other.tickets.remove(ticket)
    assert told() == {(f"board:{other.pk}", "remove")}
    other.tickets.add(ticket, bulk=False)
    assert told() == {(f"board:{other.pk}", "set")}
    other.tickets.clear()
    assert told() == {(f"board:{other.pk}", "remove")}
    board.tickets.create(title="b")
    assert told() == {(f"board:{board.pk}", "set")}


def test_many_changes_are_a_reload(desk: Desk, board: Board, other: Board, rows: list[Plain]) -> None:
    Plain.objects.using(desk.alias).create(board=other, title="9")
    desk.forget()
    with few(2):
        Plain.objects.using(desk.alias).update(position=9)
        told = changes(desk)
        assert (shelf(board), "reload", "") in told
        assert {one for one in told if one[0] == shelf(other)} == {(shelf(other), "set", str(rows[2].pk + 1))}
        assert not {one for one in told if one[0] == shelf(board) and one[1] != "reload"}
        name = shelf(board)
        board.delete()
        assert changes(desk) == {(name, "reload", "")}


def test_changed(desk: Desk, board: Board, rows: list[Plain]) -> None:
    table = Plain._meta.db_table
    execute(desk.alias, f"UPDATE {table} SET title = 'raw'")
    live.changed(Plain.objects.using(desk.alias).filter(pk__in=[rows[0].pk, rows[1].pk]), using=desk.alias)
    assert [one.data["title"] for one in desk.told(live=PLAIN)] == ["raw", "raw"]
    live.changed(rows[0])
    assert [one.data["title"] for one in desk.told(live=PLAIN)] == ["raw"]
    execute(desk.alias, f"DELETE FROM {table} WHERE id = %s", rows[1].pk)
    live.changed([rows[1], rows[2]])
    assert {(one.operation, one.key) for one in desk.told(live=PLAIN)} == {
        ("remove", str(rows[1].pk)),
        ("set", str(rows[2].pk)),
    }
    live.changed(Plain.objects.using(desk.alias).order_by("-pk")[:1], using=desk.alias)
    assert [one.key for one in desk.told(live=PLAIN)] == [str(rows[2].pk)]


def test_changing(desk: Desk, board: Board, other: Board, rows: list[Plain]) -> None:
    table = Plain._meta.db_table
    with live.changing(Plain.objects.using(desk.alias), using=desk.alias):
        execute(desk.alias, f"UPDATE {table} SET board_id = %s WHERE id = %s", other.pk, rows[0].pk)
        execute(desk.alias, f"DELETE FROM {table} WHERE id = %s", rows[1].pk)
    assert changes(desk) == {
        (shelf(board), "remove", str(rows[0].pk)),
        (shelf(other), "set", str(rows[0].pk)),
        (shelf(board), "remove", str(rows[1].pk)),
        (shelf(board), "set", str(rows[2].pk)),
    }


def test_rows_of_two_pages(desk: Desk, board: Board, other: Board, monkeypatch: Any) -> None:
    monkeypatch.setattr("flotilla.realtime.live.operation.MOST_REMEMBERED", 100)
    many = [Plain(board=board, title=str(place)) for place in range(700)]
    Plain.objects.using(desk.alias).bulk_create(many)
    agrees(desk, board)
    with few(10_000):
        assert Plain.objects.using(desk.alias).update(board=other) == 700
        told = changes(desk)
        assert len(told) == 1400
        assert Plain.objects.using(desk.alias).all().delete()[0] == 700
        assert len(changes(desk)) == 700


def test_savepoints(desk: Desk, board: Board, rows: list[Plain]) -> None:
    with transaction.atomic(using=desk.alias):
        rows[0].title = "kept"
        rows[0].save()
        try:
            with transaction.atomic(using=desk.alias):
                rows[0].title = "lost"
                rows[0].save()
                raise ValueError
        except ValueError:
            pass
    assert [one.data["title"] for one in desk.told(live=PLAIN)] == ["kept"]


def test_querysets_of_other_models(desk: Desk) -> None:
    """A LiveManager where nothing is shown is Django's."""
    Author.objects.using(desk.alias).create(name="ann")
    Label.objects.using(desk.alias).bulk_create([Label(name="x")])
    assert desk.told() == []
