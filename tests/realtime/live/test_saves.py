"""Saves of single rows: each is one publication with what the database has, in the change's own transaction."""

from decimal import Decimal
from typing import Any

import pytest
from django.core import serializers
from django.db import connections, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from flotilla import LiveModel
from flotilla.realtime.live import written
from tests.realtime.live.desk.models import Author, Board, Label, Plain, Task, Ticket, Urgent
from tests.realtime.live.support import Desk, Show, Told
from tests.realtime.outbox.databases import execute, rolled_back


@pytest.fixture
def board(desk: Desk) -> Board:
    return Board.objects.using(desk.alias).create(name="one")


@pytest.fixture
def other(desk: Desk) -> Board:
    return Board.objects.using(desk.alias).create(name="two")


@pytest.fixture
def ticket(desk: Desk, board: Board) -> Ticket:
    made = Ticket.objects.using(desk.alias).create(board=board, title="a")
    desk.forget()
    return made


def channel(board: Board) -> str:
    return f"board:{board.pk}"


def only(desk: Desk, board: Board, key: Any) -> Any:
    """The data of what was told, which is one `set` of this row with what the state has."""
    told = desk.told()
    assert [(one.channel, one.operation, one.key) for one in told] == [(channel(board), "set", str(key))]
    assert told[0].data == desk.state(channel(board))[str(key)]
    return told[0].data


def test_a_new_row_is_set(desk: Desk, board: Board) -> None:
    made = Ticket.objects.using(desk.alias).create(board=board, title="a")
    assert only(desk, board, made.pk)["title"] == "a"


def test_a_changed_row_is_set(desk: Desk, board: Board, ticket: Ticket) -> None:
    ticket.title = "b"
    ticket.save()
    assert only(desk, board, ticket.pk)["title"] == "b"


def test_many_changes_of_a_row_in_a_transaction_are_one(desk: Desk, board: Board, ticket: Ticket) -> None:
    with transaction.atomic(using=desk.alias):
        for title in ("b", "c", "d"):
            ticket.title = title
            ticket.save()
    assert only(desk, board, ticket.pk)["title"] == "d"


def test_what_is_rolled_back_is_not_told(desk: Desk, ticket: Ticket) -> None:
    with rolled_back(desk.alias):
        ticket.title = "b"
        ticket.save()
    assert desk.told() == []


def test_a_save_that_fails_tells_nothing(desk: Desk, board: Board, ticket: Ticket, monkeypatch: Any) -> None:
    """In autocommit, the row and what is told of it are one transaction."""

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("refused")

    monkeypatch.setattr("flotilla.realtime.live.operation.write_set", refuse)
    ticket.title = "b"
    with pytest.raises(RuntimeError, match="refused"):
        ticket.save()
    assert Ticket.objects.using(desk.alias).get().title == "a"


def test_a_row_that_moves_is_removed_and_set(desk: Desk, board: Board, other: Board, ticket: Ticket) -> None:
    ticket.board = other
    ticket.save()
    told = {(one.channel, one.operation, one.key) for one in desk.told()}
    assert told == {(channel(board), "remove", str(ticket.pk)), (channel(other), "set", str(ticket.pk))}


def test_a_stale_instance_does_not_say_where_the_row_was(
    desk: Desk, board: Board, other: Board, ticket: Ticket
) -> None:
    third = Board.objects.using(desk.alias).create()
    stale = Ticket.objects.using(desk.alias).get()
    ticket.board = other
    ticket.save()
    desk.forget()
    stale.board = third
    stale.save()
    told = {(one.channel, one.operation) for one in desk.told()}
    assert told == {(channel(other), "remove"), (channel(third), "set")}


def test_a_row_in_no_channel_is_removed(desk: Desk, board: Board, ticket: Ticket) -> None:
    ticket.board = None
    ticket.save()
    assert desk.told() == [Told(channel(board), "remove", str(ticket.pk), None)]


def test_a_stale_instance_with_update_fields_tells_what_the_database_has(
    desk: Desk, board: Board, ticket: Ticket
) -> None:
    stale = Ticket.objects.using(desk.alias).get()
    ticket.title = "new"
    ticket.save()
    desk.forget()
    stale.position = 7
    stale.save(update_fields=["position"])
    assert only(desk, board, ticket.pk) | {"title": "new", "position": 7} == only_state(desk, board, ticket)


def only_state(desk: Desk, board: Board, ticket: Ticket) -> Any:
    return desk.state(channel(board))[str(ticket.pk)]


def test_deferred_fields(desk: Desk, board: Board, ticket: Ticket) -> None:
    some = Ticket.objects.using(desk.alias).only("position").get()
    some.position = 3
    some.save()
    assert only(desk, board, ticket.pk)["title"] == "a"


@pytest.mark.parametrize(
    "changes",
    [
        {"position": F("position") + 5},
        {"position": "8"},
        {"price": "3.14159"},
        {"price": Decimal(2)},
        {"state": Ticket.State.DONE},
        {"title": "é\u2028"},
        {"position": True},
    ],
    ids=str,
)
def test_the_data_is_the_databases(desk: Desk, board: Board, ticket: Ticket, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(ticket, name, value)
    ticket.save()
    only(desk, board, ticket.pk)


def test_fields_that_are_not_shown_tell_nothing(desk: Desk, show: Show, board: Board) -> None:
    made = Plain.objects.using(desk.alias).create(board=board, title="a")

    class PlainTitle(LiveModel):
        model = Plain
        fields = ("title",)

    show(PlainTitle, "ticket:{board_id}")
    desk.forget()
    made.position = 4
    made.save(update_fields=["position"])
    assert desk.told(live="desk.PlainTitle") == []


def test_what_another_receiver_changed_is_told(desk: Desk, board: Board, ticket: Ticket) -> None:
    """Somebody's receiver changes the row once more, past every instance."""
    from django.db.models.signals import post_save

    def count(instance: Any, using: str, **_: Any) -> None:
        connections[using].cursor().execute("UPDATE desk_plain SET position = 99 WHERE id = %s", [instance.pk])

    made = Plain.objects.using(desk.alias).create(board=board, title="a")
    desk.forget()
    post_save.connect(count, sender=Plain)
    try:
        made.title = "b"
        made.save()
    finally:
        post_save.disconnect(count, sender=Plain)
    assert [one.data["position"] for one in desk.told(live="desk.PlainLive")] == [99]


def test_what_a_trigger_of_the_database_changed_is_told(postgresql_desk: Desk) -> None:
    desk, trigger = postgresql_desk, "TRIGGER shout BEFORE INSERT OR UPDATE ON desk_plain"
    body = "BEGIN NEW.title = upper(NEW.title); RETURN NEW; END"
    execute(desk.alias, f"CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    execute(desk.alias, f"CREATE {trigger} FOR EACH ROW EXECUTE FUNCTION shout()")
    written.forget_tables(connections[desk.alias])
    try:
        board = Board.objects.using(desk.alias).create()
        Plain.objects.using(desk.alias).create(board=board, title="quiet")
    finally:
        execute(desk.alias, "DROP FUNCTION shout CASCADE")
        written.forget_tables(connections[desk.alias])
    assert [one.data["title"] for one in desk.told(live="desk.PlainLive")] == ["QUIET"]


def test_proxies(desk: Desk, board: Board, ticket: Ticket) -> None:
    urgent = Urgent.objects.using(desk.alias).get()
    urgent.title = "now"
    urgent.save()
    assert only(desk, board, ticket.pk)["title"] == "now"
    urgent.delete()
    assert [one.operation for one in desk.told()] == ["remove"]


def test_rows_of_two_tables(desk: Desk, board: Board, other: Board) -> None:
    """A task is a ticket as well, and changes with it."""
    task = Task.objects.using(desk.alias).create(board=board, title="a", hours=3)
    desk_told = desk.told(live="desk.TaskLive")
    assert [(one.channel, one.data) for one in desk_told] == [(f"task:{board.pk}", {"title": "a", "hours": 3})]
    ticket = Ticket.objects.using(desk.alias).get()
    ticket.board = other
    ticket.save()
    told = {(one.channel, one.operation) for one in desk.told(live="desk.TaskLive")}
    assert told == {(f"task:{board.pk}", "remove"), (f"task:{other.pk}", "set")}
    task.refresh_from_db()
    task.title = "b"
    task.save()
    assert [one.data["title"] for one in desk.told()] == ["b"]
    task.delete()
    assert {(one.channel, one.operation) for one in desk.told(live="desk.TaskLive")} == {(f"task:{other.pk}", "remove")}


def test_fixtures(desk: Desk, board: Board, ticket: Ticket, other: Board) -> None:
    ticket.board = other
    text = serializers.serialize("json", [ticket])
    for item in serializers.deserialize("json", text, using=desk.alias):
        item.save(using=desk.alias)
    assert {(one.channel, one.operation) for one in desk.told()} == {
        (channel(board), "remove"),
        (channel(other), "set"),
    }


def test_get_or_create_and_update_or_create(desk: Desk, board: Board) -> None:
    tickets = Ticket.objects.using(desk.alias)
    made, _ = tickets.get_or_create(title="a", defaults={"board": board})
    assert only(desk, board, made.pk)["title"] == "a"
    tickets.update_or_create(title="a", defaults={"position": 5})
    assert only(desk, board, made.pk)["position"] == 5


def test_a_deleted_row_is_removed(desk: Desk, board: Board, ticket: Ticket) -> None:
    key = str(ticket.pk)
    ticket.delete()
    assert desk.told() == [Told(channel(board), "remove", key, None)]


def test_a_stale_instance_that_is_deleted(desk: Desk, board: Board, other: Board, ticket: Ticket) -> None:
    stale = Ticket.objects.using(desk.alias).get()
    ticket.board = other
    ticket.save()
    desk.forget()
    stale.delete()
    assert [(one.channel, one.operation) for one in desk.told()] == [(channel(other), "remove")]


def test_cascades(desk: Desk, board: Board, ticket: Ticket) -> None:
    Ticket.objects.using(desk.alias).create(board=board)
    desk.forget()
    board.delete()
    assert [one.operation for one in desk.told()] == ["remove", "remove"]


def test_a_foreign_key_that_is_set_to_null(desk: Desk, board: Board, ticket: Ticket) -> None:
    ticket.author = Author.objects.using(desk.alias).create(name="ann")
    ticket.save()
    desk.forget()
    ticket.author.delete()
    assert only(desk, board, ticket.pk)["author"] is None


def test_statements_of_a_save(desk: Desk, board: Board) -> None:
    """A row that can move is read once, before; what is written is known. With the outbox's row that is all."""
    made = Plain.objects.using(desk.alias).create(board=board, title="a")
    made.title = "b"
    made.save()
    made.title = "c"
    with CaptureQueriesContext(connections[desk.alias]) as seen, transaction.atomic(using=desk.alias):
        made.save()
    said = [query["sql"] for query in seen.captured_queries if "desk" in query["sql"] or "flotilla" in query["sql"]]
    reads = [sql for sql in said if sql.startswith("SELECT") and "flotilla" not in sql]
    assert len(reads) == 1, said
    assert len([sql for sql in said if "flotilla_outbox" in sql and "WHERE 0" not in sql]) == 1, said


def test_a_new_row_is_not_read(desk: Desk, board: Board) -> None:
    Plain.objects.using(desk.alias).create(board=board, title="a")
    with CaptureQueriesContext(connections[desk.alias]) as seen:
        Plain.objects.using(desk.alias).create(board=board, title="b")
    assert [query for query in seen.captured_queries if 'FROM "desk' in query["sql"]] == []


def test_labels(desk: Desk, show: Show, board: Board, ticket: Ticket) -> None:
    class Labelled(LiveModel):
        model = Ticket
        fields = ("title", "labels")

    show(Labelled, "ticket:{id}")
    one, two = (Label.objects.using(desk.alias).create(name=name) for name in "xy")
    label = "desk.Labelled"

    def lists() -> list[Any]:
        return [told.data["labels"] for told in desk.told(live=label)]

    ticket.labels.add(one, two)
    assert lists() == [[one.pk, two.pk]]
    two.tickets.remove(ticket)
    assert lists() == [[one.pk]]
    ticket.labels.set([two])
    assert lists() == [[two.pk]]
    two.tickets.clear()
    assert lists() == [[]]
    ticket.labels.add(one)
    desk.forget()
    one.delete()
    assert lists() == [[]]
    ticket.title = "b"
    ticket.save()
    assert lists() == [[]]


def test_fields_of_related_rows(desk: Desk, show: Show, board: Board, ticket: Ticket) -> None:
    class Named(LiveModel):
        model = Ticket
        fields = ("title", "author__name")

    show(Named, "ticket:{id}")
    label = "desk.Named"
    author = Author.objects.using(desk.alias).create(name="ann")
    ticket.author = author
    ticket.save()
    assert [one.data["author__name"] for one in desk.told(live=label)] == ["ann"]
    author.name = "bea"
    author.save()
    assert [one.data["author__name"] for one in desk.told(live=label)] == ["bea"]
    author.seen = 3
    author.save()
    author.save(update_fields=["seen"])
    assert desk.told(live=label) == []
    author.delete()
    assert [one.data["author__name"] for one in desk.told(live=label)] == [None]


def test_a_function_says_the_channels(desk: Desk, show: Show, board: Board, other: Board, ticket: Ticket) -> None:
    class Everywhere(LiveModel):
        model = Ticket

        def data(self, row: Any) -> dict[str, Any]:
            return {"title": row.title}

    def channels(row: Any) -> Any:
        return [f"ticket:{row.pk}", *([f"author:{row.author_id}"] if row.author_id else [])]

    show(Everywhere, channels)
    ticket.author = Author.objects.using(desk.alias).create(name="ann")
    ticket.save()
    label = "desk.Everywhere"
    assert {one.channel for one in desk.told(live=label)} == {f"ticket:{ticket.pk}", f"author:{ticket.author_id}"}
    left = ticket.author_id
    ticket.author = None
    ticket.save()
    assert {(one.channel, one.operation) for one in desk.told(live=label)} == {
        (f"ticket:{ticket.pk}", "set"),
        (f"author:{left}", "remove"),
    }


def test_a_row_that_ceases_to_be_shown_is_removed(desk: Desk, show: Show, board: Board, ticket: Ticket) -> None:
    class Visible(LiveModel):
        model = Ticket
        fields = ("title",)

        def queryset(self) -> Any:
            return Ticket.objects.filter(hidden=False)

    show(Visible, "ticket:{board_id}")
    label = "desk.Visible"
    ticket.hidden = True
    ticket.save(update_fields=["hidden"])
    assert [one.operation for one in desk.told(live=label)] == ["remove"]
    ticket.title = "secret"
    ticket.save()
    assert desk.told(live=label) == []
    ticket.hidden = False
    ticket.save()
    assert [one.operation for one in desk.told(live=label)] == ["set"]


def test_a_serializer_makes_the_data(desk: Desk, show: Show, board: Board, ticket: Ticket) -> None:
    from rest_framework.serializers import ModelSerializer

    class TicketSerializer(ModelSerializer):  # type: ignore[type-arg]
        class Meta:
            model = Ticket
            fields = ("id", "title", "price", "changed_at")

    class Serialized(LiveModel):
        model = Ticket
        serializer = TicketSerializer

    show(Serialized, "ticket:{board_id}")
    ticket.price = "3.14159"  # type: ignore[assignment]
    ticket.save()
    fresh = Ticket.objects.using(desk.alias).get()
    [told] = desk.told(live="desk.Serialized")
    assert told.data == dict(TicketSerializer(fresh).data)


def test_a_key_of_its_own(desk: Desk, show: Show, board: Board, ticket: Ticket) -> None:
    class ByTitle(LiveModel):
        model = Ticket
        fields = ("title",)
        key = "title"
        key_prefix = "t-"

    show(ByTitle, "ticket:{board_id}")
    ticket.title = "b"
    ticket.save()
    assert {(one.operation, one.key) for one in desk.told(live="desk.ByTitle")} == {("remove", "t-a"), ("set", "t-b")}


def test_a_channel_that_cannot_be(desk: Desk, show: Show, board: Board, ticket: Ticket, caplog: Any) -> None:
    """The row is saved all the same."""

    class ByTitle(LiveModel):
        model = Ticket
        fields = ("title",)

    show(ByTitle, "ticket:{title}")
    ticket.title = "ü"
    ticket.save()
    assert {(one.channel, one.operation) for one in desk.told(live="desk.ByTitle")} == {("ticket:a", "remove")}
    assert "no channel 'ticket:ü'" in caplog.text
