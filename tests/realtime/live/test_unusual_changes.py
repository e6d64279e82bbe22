"""Changes in ways that are seldom taken: they are seen all the same, and a project's own errors stay its own."""

from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from django.db import transaction
from django.db.models.signals import post_save, pre_save

from flotilla import LiveModel, live
from flotilla.realtime.live import dependents, registry
from tests.realtime.live.desk.models import Author, Board, Country, Label, Parcel, Plain, Ticket
from tests.realtime.live.support import Desk, Show, Told
from tests.realtime.outbox.databases import execute

NAMED = "desk.Named"


@pytest.fixture
def board(desk: Desk) -> Board:
    return Board.objects.using(desk.alias).create(name="one")


def named(show: Show) -> None:
    class Named(LiveModel):
        model = Ticket
        fields = ("id", "author__name")

    show(Named, "ticket:{board_id}")


def data(told: list[Told]) -> list[tuple[str, Any]]:
    return [(one.operation, one.data) for one in told]


def test_a_row_that_is_written_over_by_a_new_instance(desk: Desk, show: Show, board: Board) -> None:
    """`Author(pk=…).save()` updates the author who is there, and so what shows the name."""
    named(show)
    author = Author.objects.using(desk.alias).create(name="Ann")
    ticket = Ticket.objects.using(desk.alias).create(board=board, author=author)
    desk.forget()
    Author(pk=author.pk, name="Bob").save(using=desk.alias)
    assert data(desk.told(live=NAMED)) == [("set", {"id": ticket.pk, "author__name": "Bob"})]


def test_an_update_that_is_forced_of_a_key_with_a_default(desk: Desk, show: Show) -> None:
    class Parcels(LiveModel):
        model = Parcel
        fields = ("id",)

    show(Parcels, "shelf:{place}")
    made = Parcel.objects.using(desk.alias).create(place=1)
    desk.forget()
    Parcel(pk=made.pk, place=2).save(using=desk.alias, force_update=True)
    told = desk.told(live="desk.Parcels")
    assert sorted((one.channel, one.operation) for one in told) == [("shelf:1", "remove"), ("shelf:2", "set")]


def test_a_foreign_key_to_another_field(desk: Desk, show: Show) -> None:
    class Parcels(LiveModel):
        model = Parcel
        fields = ("country", "country__name")

    show(Parcels, "shelf:{place}")
    country = Country.objects.using(desk.alias).create(code="no", name="Norway")
    Parcel.objects.using(desk.alias).create(country=country)
    desk.forget()
    country.name = "Norge"
    country.save()
    assert data(desk.told(live="desk.Parcels")) == [("set", {"country": "no", "country__name": "Norge"})]


def test_rows_of_other_tables_that_nobody_saw_change(desk: Desk, show: Show, board: Board) -> None:
    """`live.changed` of what is only a part of live rows."""
    named(show)
    author = Author.objects.using(desk.alias).create(name="Ann")
    ticket = Ticket.objects.using(desk.alias).create(board=board, author=author)
    desk.forget()
    with transaction.atomic(using=desk.alias):
        execute(desk.alias, "UPDATE desk_author SET name = 'Bob'")
        live.changed(Author.objects.using(desk.alias).all(), using=desk.alias)
    expected = [("set", {"id": ticket.pk, "author__name": "Bob"})]
    assert data(desk.told(live=NAMED)) == expected
    live.changed(author, using=desk.alias)
    assert data(desk.told(live=NAMED)) == expected
    with live.changing(Author.objects.using(desk.alias).all(), using=desk.alias):
        execute(desk.alias, "UPDATE desk_author SET name = 'Eve'")
    assert data(desk.told(live=NAMED)) == [("set", {"id": ticket.pk, "author__name": "Eve"})]


@pytest.fixture
def refused() -> Iterator[None]:
    def refuse(instance: Plain, **_: Any) -> None:
        if instance.title == "refused":
            raise ValueError("refused")

    pre_save.connect(refuse, sender=Plain)
    yield
    pre_save.disconnect(refuse, sender=Plain)


def test_a_receivers_refusal_leaves_the_callers_transaction_as_it_was(desk: Desk, board: Board, refused: None) -> None:
    """As Django does: a project catches what its `pre_save` raises, and goes on."""
    with transaction.atomic(using=desk.alias):
        with pytest.raises(ValueError, match="refused"):
            Plain.objects.using(desk.alias).create(board=board, title="refused")
        made = Plain.objects.using(desk.alias).create(board=board, title="taken")
    assert [(one.operation, one.key) for one in desk.told(live="desk.PlainLive")] == [("set", str(made.pk))]


@pytest.fixture
def failing() -> Iterator[None]:
    def fail(instance: Plain, **_: Any) -> None:
        if instance.title == "fails":
            raise ValueError("failed")

    post_save.connect(fail, sender=Plain)
    yield
    post_save.disconnect(fail, sender=Plain)


def test_a_row_is_told_that_was_saved_before_a_receiver_failed(desk: Desk, board: Board, failing: None) -> None:
    made = Plain.objects.using(desk.alias).create(board=board, title="a")
    desk.forget()
    with transaction.atomic(using=desk.alias), pytest.raises(ValueError, match="failed"):
        made.title = "fails"
        made.save()
    [told] = desk.told(live="desk.PlainLive")
    assert told.data["title"] == "fails"
    assert desk.state(told.channel) == {str(made.pk): told.data}


def test_data_that_cannot_be_made_fails_the_save(desk: Desk, show: Show, board: Board) -> None:
    """No row is changed that is not told of."""

    class Broken(LiveModel):
        model = Ticket

        def data(self, row: Ticket) -> dict[str, Any]:
            raise LookupError("no data")

    ticket = Ticket.objects.using(desk.alias).create(board=board, title="a")
    show(Broken, "ticket:{board_id}")
    ticket.title = "b"
    with pytest.raises(LookupError, match="no data"):
        ticket.save()
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic(using=desk.alias):
        with pytest.raises(LookupError, match="no data"):
            ticket.save()
        Label.objects.using(desk.alias).create(name="behind")
    assert Ticket.objects.using(desk.alias).get().title == "a"


def test_the_first_saves_of_two_threads(monkeypatch: Any) -> None:
    """What depends on a model is known as a whole, or not yet."""
    registry.changes[0]()
    made, found, threads = dependents._of, [], []

    def slowly(one: Any) -> Any:
        yield from made(one)
        if not threads:
            threads.append(Thread(target=lambda: found.append(dependents.dependents_of(Ticket))))
            threads[0].start()
            threads[0].join(10)

    monkeypatch.setattr(dependents, "_of", slowly)
    own = dependents.dependents_of(Ticket)
    threads[0].join()
    assert own
    assert found == [own]
