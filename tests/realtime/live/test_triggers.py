"""Changes in SQL are told by triggers, and changes of Django's are told once all the same."""

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from flotilla import LiveModel
from flotilla.realtime.live.renderer import render
from flotilla.realtime.live.triggers import carry_out, plan
from tests.realtime.live.desk.models import Author, Board, Label, Plain, Ticket
from tests.realtime.live.support import Desk, Show
from tests.realtime.outbox.databases import execute, rows

PLAIN = "desk.PlainLive"


@pytest.fixture
def desk(postgresql_desk: Desk) -> Iterator[Desk]:
    carry_out(plan(postgresql_desk.alias), postgresql_desk.alias)
    yield postgresql_desk
    carry_out(plan(postgresql_desk.alias, without=True), postgresql_desk.alias)


@pytest.fixture
def board(desk: Desk) -> Board:
    return Board.objects.using(desk.alias).create()


def insert(desk: Desk, board: Board, count: int = 1) -> None:
    made = "SELECT %s, 'raw', 0, 'open' FROM generate_series(1, %s)"
    execute(desk.alias, f"INSERT INTO desk_plain (board_id, title, position, state) {made}", board.pk, count)


def changes(desk: Desk, live: str = PLAIN) -> list[tuple[str, str, str, Any]]:
    return sorted((one.channel, one.operation, one.key, one.data) for one in desk.told(live=live))


def test_rows_in_sql(desk: Desk, board: Board) -> None:
    insert(desk, board, 2)
    one, two = Plain.objects.using(desk.alias).order_by("pk").values_list("pk", flat=True)
    shelf = f"shelf:{board.pk}"
    assert changes(desk) == [(shelf, "set", str(one), None), (shelf, "set", str(two), None)]
    execute(desk.alias, "UPDATE desk_plain SET title = 'other' WHERE id = %s", one)
    assert changes(desk) == [(shelf, "set", str(one), None)]
    execute(desk.alias, "UPDATE desk_plain SET title = title")
    assert changes(desk) == []
    other = Board.objects.using(desk.alias).create()
    execute(desk.alias, "UPDATE desk_plain SET board_id = %s WHERE id = %s", other.pk, two)
    assert changes(desk) == [(shelf, "remove", str(two), None), (f"shelf:{other.pk}", "set", str(two), None)]
    execute(desk.alias, "DELETE FROM desk_plain WHERE id = %s", two)
    assert changes(desk) == [(f"shelf:{other.pk}", "remove", str(two), None)]
    execute(desk.alias, "TRUNCATE desk_plain")
    assert changes(desk) == [(shelf, "reload", "", None)]


def test_many_rows_in_sql_are_a_reload(desk: Desk, board: Board) -> None:
    insert(desk, board, 1001)
    assert changes(desk) == [(f"shelf:{board.pk}", "reload", "", None)]


def test_changes_by_django_are_told_once(desk: Desk, board: Board) -> None:
    made = Plain.objects.using(desk.alias).create(board=board, title="a")
    shelf, data = f"shelf:{board.pk}", {"id": made.pk, "title": "a", "position": 0, "state": "open", "board": board.pk}
    assert changes(desk) == [(shelf, "set", str(made.pk), data)]
    made.title = "b"
    made.save()
    assert changes(desk) == [(shelf, "set", str(made.pk), data | {"title": "b"})]
    Plain.objects.using(desk.alias).update(title="c")
    assert changes(desk) == [(shelf, "set", str(made.pk), data | {"title": "c"})]
    with transaction.atomic(using=desk.alias):
        made.save()
        execute(desk.alias, "UPDATE desk_plain SET title = 'raw'")
    assert changes(desk) == [(shelf, "set", str(made.pk), None)]
    Plain.objects.using(desk.alias).all().delete()
    assert [one[:2] for one in changes(desk)] == [(shelf, "remove")]


def test_related_rows_in_sql(desk: Desk, show: Show, board: Board) -> None:
    class Full(LiveModel):
        model = Ticket
        fields = ("title", "labels", "author__name")

    show(Full, "ticket:{code}")
    carry_out(plan(desk.alias), desk.alias)
    author, label = (model.objects.using(desk.alias).create(name="x") for model in (Author, Label))
    ticket = Ticket.objects.using(desk.alias).create(author=author)
    place = (f"ticket:{ticket.code}", "set", str(ticket.pk), None)
    desk.forget()
    execute(desk.alias, "INSERT INTO desk_ticket_labels (ticket_id, label_id) VALUES (%s, %s)", ticket.pk, label.pk)
    assert changes(desk, "desk.Full") == [place]
    execute(desk.alias, "DELETE FROM desk_ticket_labels")
    assert changes(desk, "desk.Full") == [place]
    execute(desk.alias, "UPDATE desk_author SET name = 'y'")
    assert changes(desk, "desk.Full") == [place]


def test_what_was_not_rendered_is_when_it_is_sent(desk: Desk, board: Board) -> None:
    insert(desk, board)
    made = Plain.objects.using(desk.alias).get()
    made.title = "later"
    made.save()
    first, second = rows(desk.alias)
    place = (first.channel, first.key)
    found = render(first.live, [place], desk.alias, 0)[place]
    assert (found[0], b'"later"' in (found[1] or b"")) == ("set", True)
    second.refresh_from_db()
    assert second.body is None  # so that nothing older follows
    made.delete()
    assert render(first.live, [place], desk.alias, 0) == {place: ("remove", None)}


def test_what_is_right_is_left(desk: Desk) -> None:
    assert plan(desk.alias).done
    output = StringIO()
    with pytest.raises(CommandError, match="tell of such changes with"):  # a live model of two tables
        call_command("live_triggers", database=desk.alias, stdout=output)
    assert "0 made, 0 removed" in output.getvalue()


def test_the_command(desk: Desk) -> None:
    run = lambda *words: call_command("live_triggers", *words, database=desk.alias, stdout=StringIO())  # noqa: E731
    run("--remove")
    with pytest.raises(CommandError, match="not as they should be"):
        run("--check")
    output = StringIO()
    with pytest.raises(CommandError, match="TaskLive"):
        call_command("live_triggers", "--sql", database=desk.alias, stdout=output)
    assert "CREATE TRIGGER" in output.getvalue()
    assert not plan(desk.alias).done


def test_elsewhere_there_are_none(sqlite_desk: Desk) -> None:
    with pytest.raises(CommandError, match="no PostgreSQL"):
        call_command("live_triggers", database=sqlite_desk.alias)


def test_rows_whose_channel_is_too_long_are_changed_all_the_same(desk: Desk, show: Show, board: Board) -> None:
    class Noted(LiveModel):
        model = Ticket
        fields = ("id",)

    show(Noted, "ticket:{note}")
    carry_out(plan(desk.alias), desk.alias)
    ticket = Ticket.objects.using(desk.alias).create(board=board, note="short")
    desk.forget()
    execute(desk.alias, "UPDATE desk_ticket SET note = repeat('x', 300)")
    told = desk.told(live="desk.Noted")
    assert [(one.channel, one.operation, one.key) for one in told] == [("ticket:short", "remove", str(ticket.pk))]
    execute(desk.alias, "TRUNCATE desk_ticket CASCADE")
    assert desk.told(live="desk.Noted") == []
