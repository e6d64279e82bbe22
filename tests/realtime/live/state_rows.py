"""Tickets of the tests of states: a table in a database of theirs, and live models that show its rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, models, transaction
from rest_framework import serializers

from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.outbox.rows import Change, write_changes

APP = "state_tests"


class Ticket(models.Model):
    """A row of a board."""

    board_id = models.IntegerField()
    title = models.CharField(max_length=100)
    audience = models.CharField(max_length=20, default="all")

    class Meta:
        app_label = APP

    def __str__(self) -> str:
        return self.title


class Note(models.Model):
    """A row of another table, with a key of text."""

    name = models.CharField(max_length=50, primary_key=True)
    board_id = models.IntegerField()

    class Meta:
        app_label = APP

    def __str__(self) -> str:
        return self.name


class TicketSerializer(serializers.ModelSerializer[Ticket]):
    """As a project has one."""

    shouted = serializers.SerializerMethodField()

    class Meta:
        model = Ticket
        fields = ("id", "shouted")

    def get_shouted(self, row: Ticket) -> str:
        return row.title.upper()


class TicketLive(LiveModel):
    """By names of fields."""

    model = Ticket
    fields = ("id", "title")


class NoteLive(LiveModel):
    """By a function, beside tickets in the same channel."""

    model = Note
    key_prefix = "note-"

    def data(self, row: Note) -> dict[str, Any]:
        return {"note": row.name}


class SerializedLive(LiveModel):
    """By a serializer."""

    model = Ticket
    serializer = TicketSerializer


class AudienceLive(LiveModel):
    """A channel for each audience: who may see less is in another channel."""

    model = Ticket
    fields = ("id", "title", "audience")


class Router:
    """All that these tests write is in one database."""

    alias = "default"

    def db_for_read(self, model: type[models.Model], **_: Any) -> str | None:
        return self.alias if model._meta.app_label == APP else None

    db_for_write = db_for_read


@contextmanager
def tables(alias: str) -> Iterator[None]:
    """The tables, in a database."""
    with connections[alias].schema_editor() as editor:
        for model in (Ticket, Note):
            editor.create_model(model)
    try:
        yield
    finally:
        with connections[alias].schema_editor() as editor:
            for model in (Ticket, Note):
                editor.delete_model(model)


def saved(alias: str, title: str, board: int = 1, **fields: Any) -> Ticket:
    """A new ticket, told to its board."""
    with transaction.atomic(using=alias):
        row = Ticket.objects.using(alias).create(board_id=board, title=title, **fields)
        told(alias, row)
    return row


def told(alias: str, row: Ticket, operation: Any = "set") -> None:
    """A change of a ticket, as a live model tells it."""
    write_changes([Change(f"pane:{row.board_id}", str(row.pk), operation, "state_tests.TicketLive")], using=alias)
