"""A live model's row in its templates: what is published of a change, how it is escaped, and where it belongs."""

import json
import logging
from typing import Any

import pytest
from django.db import transaction
from django.template import TemplateSyntaxError

from flotilla import LiveModel
from flotilla.realtime.live import fragments
from flotilla.realtime.live.fragments import fragment, is_signed, place_of, signature
from flotilla.realtime.models import OutboxRow
from tests.realtime.live.desk.models import Author, Board, Ticket
from tests.realtime.live.support import Desk, Show
from tests.realtime.live.templates import templates

ROW = """<!-- a ticket -->
 <li class='{{ ticket.state }}'>{{ ticket.title }}{% if user %} for {{ user }}{% endif %}</li>
"""
TEXTS = {
    "row.html": ROW,
    "note.html": "<tr><td>{{ row.note }} {{ key }}</td></tr>",
    "open.html": "{% if row.state == 'open' %}<p>{{ row.author.name }}</p>{% endif %}",
    "text.html": "{{ row.title }}",
    "wrong.html": "<p>{% include 'nowhere.html' %}</p>",
}


class Shown(LiveModel):
    """Tickets with HTML."""

    model = Ticket
    fields = ("title",)
    templates = ("row.html", "note.html")
    order = ("position", "-title")


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.REALTIME = {"namespaces": {"html": {}}}
    settings.TEMPLATES = templates(TEXTS)


def told(desk: Desk) -> list[dict[str, Any]]:
    """What the publications have of rows that were set, since the last time."""
    rows = OutboxRow.objects.using(desk.alias).filter(live="desk.Shown", operation="set").order_by("id")
    found = [json.loads(b'{"data":%b}' % bytes(row.body or b"null")) for row in rows]
    desk.forget()
    return found


@pytest.fixture
def board(desk: Desk) -> Board:
    return Board.objects.using(desk.alias).create(name="one")


def test_a_change_carries_its_row_in_each_template(desk: Desk, board: Board, show: Show) -> None:
    live = show(Shown, "html:{board_id}")
    ticket = Ticket.objects.using(desk.alias).create(board=board, title='<b>"&', note="n", position=3)
    (said,) = told(desk)
    place = place_of(live, ticket)
    mark = f'data-live-key="{ticket.pk}" data-live-place="{place}"'
    assert said == {
        "data": {"title": '<b>"&'},
        "html": {
            "row.html": f"<!-- a ticket -->\n <li {mark} class='open'>&lt;b&gt;&quot;&amp;</li>",
            "note.html": f"<tr {mark}><td>n {ticket.pk}</td></tr>",
        },
    }
    assert desk.state(f"html:{board.pk}") == {str(ticket.pk): {"title": '<b>"&'}}, "the state of data has no HTML"


def test_what_only_a_template_shows_is_a_change_as_well(desk: Desk, board: Board, show: Show) -> None:
    """However it is made: `fields` do not say what a template looks at."""
    show(Shown, "html:{board_id}")
    ticket = Ticket.objects.using(desk.alias).create(board=board)
    desk.forget()
    ticket.note = "saved"
    ticket.save(update_fields=["note"])
    Ticket.objects.using(desk.alias).update(note="updated")
    ticket.note = "in bulk"
    Ticket.objects.using(desk.alias).bulk_update([ticket], ["note"])
    assert [said["html"]["note.html"].partition("<td>")[2].split(str(ticket.pk))[0] for said in told(desk)] == [
        "saved ",
        "updated ",
        "in bulk ",
    ]


def test_a_row_of_which_a_template_makes_nothing_is_not_shown_by_it(desk: Desk, board: Board, show: Show) -> None:
    class Opened(Shown):
        templates = ("open.html",)

    live = show(type("Shown", (Opened,), {}), "html:{board_id}")
    author = Author.objects.using(desk.alias).create(name="ann")
    ticket = Ticket.objects.using(desk.alias).create(board=board, author=author)
    ticket.state = "done"
    ticket.save()
    opened, done = (said["html"]["open.html"] for said in told(desk))
    assert opened.endswith(">ann</p>") and done == ""
    assert fragment(live, ticket, "row.html").endswith("class='done'></li>")


def test_a_template_that_fails_fails_no_change(
    desk: Desk, board: Board, show: Show, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Shown):
        templates = ("wrong.html", "text.html", "missing.html", "row.html")

    show(type("Shown", (Wrong,), {}), "html:{board_id}")
    with caplog.at_level(logging.ERROR, "flotilla.realtime.live"), transaction.atomic(using=desk.alias):
        Ticket.objects.using(desk.alias).create(board=board, title="saved")
    (said,) = told(desk)
    assert list(said["html"]) == ["row.html"]
    assert [record.args[0] for record in caplog.records if record.args] == ["wrong.html", "text.html", "missing.html"]


def test_what_is_too_long_for_a_publication_is_left_out(
    desk: Desk, board: Board, show: Show, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    show(Shown, "html:{board_id}")
    monkeypatch.setattr(fragments, "MAX_BYTES", 200)
    with caplog.at_level(logging.WARNING, "flotilla.realtime.live"):
        Ticket.objects.using(desk.alias).create(board=board, note="x" * 200)
    (said,) = told(desk)
    assert list(said["html"]) == ["row.html"]
    assert "too long in note.html" in caplog.text


def test_a_template_is_one_element(desk: Desk, board: Board, show: Show) -> None:
    live = show(Shown, "html:{board_id}")
    ticket = Ticket.objects.using(desk.alias).create(board=board, title="no element")
    with pytest.raises(TemplateSyntaxError, match=r"text.html begins with 'no element': write one element"):
        fragment(live, ticket, "text.html")


def test_places_are_those_of_the_order(desk: Desk, board: Board, show: Show) -> None:
    """By fields, downwards too, over a relation that leads nowhere, else as the model says, at last by the key."""

    class Ordered(Shown):
        order = ("author__name", "-position")

    class Plain(Shown):
        order = ()

    rows = Ticket.objects.using(desk.alias)
    ann = Author.objects.using(desk.alias).create(name="ann")
    bob = Author.objects.using(desk.alias).create(name="Bob")
    made = [rows.create(board=board, author=author, position=at) for author in (bob, None, ann) for at in (1, 10, 2)]

    def ordered(live: LiveModel) -> list[tuple[str | None, int]]:
        return [
            (row.author and row.author.name, row.position) for row in sorted(made, key=lambda row: place_of(live, row))
        ]

    names: list[str | None] = [None, "ann", "Bob"]
    assert ordered(Ordered()) == [(name, at) for name in names for at in (10, 2, 1)]
    assert ordered(Plain()) == [(row.author and row.author.name, row.position) for row in made]


def test_a_signature_is_of_one_template_in_one_channel(settings: Any) -> None:
    said = signature("board:1", "row.html")
    assert is_signed("board:1", "row.html", said)
    for channel, template, other in (
        ("board:2", "row.html", said),
        ("board:1", "note.html", said),
        ("board:1\nrow.html", "", said),
        ("board:1", "row.html", ""),
        ("board:1", "row.html", said[:-1]),
        ("board:1", "row.html", f"{said}:"),
    ):
        assert not is_signed(channel, template, other)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key of the project, which is long enough too"
    assert is_signed("board:1", "row.html", said)
    settings.SECRET_KEY_FALLBACKS = []
    assert not is_signed("board:1", "row.html", said)
