"""`{% live %}` and the endpoint behind it: a complete page for who may see it, and HTML for nobody else."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, TemplateSyntaxError, engines
from django.test import Client, RequestFactory
from django.utils.functional import SimpleLazyObject

from flotilla import history
from flotilla.realtime.live import fragment_pages
from flotilla.realtime.live.fragments import signature
from flotilla.realtime.models import OutboxRow
from flotilla.store import StoreUnavailable
from tests.realtime.live.state_rows import AudienceLive, Note, NoteLive, Ticket, TicketLive, saved
from tests.realtime.live.states import *  # noqa: F403  fixtures
from tests.realtime.live.states import shown
from tests.realtime.live.templates import templates

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = {
    "row.html": "<li>{{ row.title }}{{ row.name }}{% if user %} for {{ user }}{% endif %}</li>",
    "mine.html": "{% if row.title != 'hidden' %}<li>{{ row.title }}{{ row.name }} for {{ user }}</li>{% endif %}",
}
Render = Callable[..., str]
Ask = Callable[..., Any]


class HtmlLive(TicketLive):
    """Tickets in one template, the newest first."""

    templates = ("row.html",)
    order = ("-title",)


@pytest.fixture(autouse=True)
def _templates(_settings: None, settings: Any) -> None:
    settings.TEMPLATES = templates(TEXTS)


@pytest.fixture
def render(ann: User) -> Render:
    """What somebody sees of a template with `{% live %}`, ann if nobody else is said."""

    def rendered(text: str, user: Any = ann, **context: Any) -> str:
        request = RequestFactory().get("/")
        request.user = SimpleLazyObject(lambda: User.objects.filter(pk=user.pk).first() or user)
        return engines["django"].from_string("{% load flotilla %}" + text).render(context, request)

    return rendered


@pytest.fixture
def ask(ann: User) -> Ask:
    """Asks the endpoint for HTML, as ann if nobody else is said."""

    def asked(templates: Any, channel: str = "pane:1", user: Any = ann, signed: str = "", **more: Any) -> Any:
        client = Client()
        if user is not None:
            client.force_login(user)
        signatures = [signature(signed or channel, one) for one in templates]
        query = urlencode({"template": templates, "signature": signatures, **more}, doseq=True)
        return client.get(f"/flotilla/fragment/{channel}?{query}")

    return asked


class Elements(HTMLParser):
    """The elements of a text with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def words(html: str) -> list[str]:
    return re.findall(r">([^<]+)<", html)


def test_a_page_has_all_rows_in_order_and_what_its_script_needs(board: str, render: Render) -> None:
    with shown(HtmlLive, "pane:{board_id}"):
        made = [saved(board, title) for title in ("a", "c", "<b>")]
        html = render('{% live "pane:1" template="row.html" tag="ul" class="rows" id=name %}', name='"x"')
    (tag, told), *items = Elements(html).found
    top = history("pane:1", limit=0)
    version = OutboxRow.objects.using(board).latest("position").position
    assert tag == "ul"
    assert told == {
        "class": "rows",
        "id": '"x"',
        "data-live": "pane:1",
        "data-live-fragments": "/flotilla/fragment/pane:1",
        "data-live-template": "row.html",
        "data-live-signature": signature("pane:1", "row.html"),
        "data-live-epoch": top.epoch,
        "data-live-offset": str(top.offset),
        "data-live-version": str(version),
    }
    assert words(html) == ["c", "a", "&lt;b&gt;"], "of everybody: a named template knows no user"
    assert [attributes["data-live-key"] for _, attributes in items] == [str(made[at].pk) for at in (1, 0, 2)]
    places = [attributes["data-live-place"] or "" for _, attributes in items]
    assert places == sorted(places)
    assert "<script" not in html and "style" not in html and " on" not in html


def test_a_template_that_is_not_named_knows_who_looks(board: str, render: Render, ask: Ask) -> None:
    saved(board, "hidden")
    ticket = saved(board, "seen")
    html = render('{% live "pane:1" template="mine.html" as rows %}<ol {{ rows.attributes }}>{{ rows.html }}</ol>')
    assert words(html) == ["seen for ann"]
    assert html.startswith('<ol data-live="pane:1"')
    said = ask(["mine.html"], user=User.objects.create_user("bob")).json()
    assert [words(row["html"]["mine.html"]) for row in said["rows"]] == [[], ["seen for bob"]]
    assert said["rows"][1]["key"] == str(ticket.pk)


def test_who_may_not_subscribe_is_shown_nothing(board: str, render: Render, ask: Ask) -> None:
    staff = User.objects.create_user("root", is_staff=True)
    saved(board, "for staff", audience="staff")
    text = '[{% live "audience:staff:1" template="row.html" %}]'
    with shown(AudienceLive, "audience:{audience}:{board_id}"):
        assert words(render(text, staff)) == ["for staff for root"]
        assert render(text) == render(text, AnonymousUser()) == "[]"
        assert render('{% live "audience:staff:1" template="row.html" as a %}[{{ a }}{{ a.html }}]') == "[]"
        for key in ({}, {"key": "1"}):
            assert ask(["row.html"], "audience:staff:1", staff, **key).status_code == 200
            for user in (None, User.objects.get(username="ann")):
                answer = ask(["row.html"], "audience:staff:1", user, **key)
                assert answer.status_code == 403 and b"for staff" not in answer.content


def test_what_cannot_be_shown_says_why(board: str, render: Render, settings: Any) -> None:
    for text, error, why in (
        ('{% live "nowhere:1" template="row.html" %}', ImproperlyConfigured, "'nowhere:1': unknown channel"),
        ('{% live "plain:1" template="row.html" %}', ImproperlyConfigured, "set history_size, history_ttl"),
        ('{% live "pane:1" template="row.html" tag="ul><script" %}', TemplateSyntaxError, "is no tag"),
    ):
        with pytest.raises(error, match=why):
            render(text)
    settings.REALTIME = {"namespaces": {"other": settings.REALTIME["namespaces"]["pane"]}}
    with pytest.raises(ImproperlyConfigured, match="no live model shows rows in the channel 'other:1'"):
        render('{% live "other:1" template="row.html" %}')
    template = engines["django"].from_string('{% load flotilla %}{% live "pane:1" template="row.html" %}')
    with pytest.raises(ImproperlyConfigured, match="render the page with its request"):
        template.template.render(Context({}))  # type: ignore[attr-defined]


def test_without_redis_there_is_a_page_whose_script_begins_anew(
    board: str, render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(board, "there")

    def away(channel: str) -> None:
        raise StoreUnavailable("Redis is away")

    monkeypatch.setattr("flotilla.realtime.templatetags.flotilla.position_of", away)
    html = render('{% live "pane:1" template="row.html" %}')
    assert words(html) == ["there for ann"]
    assert "data-live-epoch" not in html and "data-live-signature" in html


def test_of_more_rows_than_a_page_begins_with_the_script_loads_the_rest(
    board: str, render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fragment_pages, "MOST_IN_PAGE", 3)
    for count in (3, 4):
        while Ticket.objects.using(board).count() < count:
            saved(board, "one more")
        html = render('{% live "pane:1" template="row.html" %}')
        assert ("data-live-epoch" in html) is (count == 3)
    assert len(words(html)) <= 4


def test_rows_are_asked_for_by_their_keys(board: str, ask: Ask) -> None:
    """Those that are in the channel; of several live models, and whatever somebody writes for a key."""
    one, elsewhere = saved(board, "one"), saved(board, "elsewhere", board=2)
    Note.objects.using(board).create(name="7", board_id=1)
    with shown(NoteLive, "pane:{board_id}"):
        keys = [str(one.pk), str(elsewhere.pk), "note-7", "7x", "", "note-", "9" * 40, "-1", "\0", "ünï"]
        said = ask(["mine.html"], key=keys).json()
    assert {row["key"]: words(row["html"]["mine.html"]) for row in said["rows"]} == {
        str(one.pk): ["one for ann"],
        "note-7": ["7 for ann"],
    }
    assert said["version"] == OutboxRow.objects.using(board).filter(channel="pane:1").latest("position").position
    assert ask(["mine.html"], key=["1"] * 51).status_code == 400


def test_all_rows_come_in_pages(board: str, ask: Ask) -> None:
    made = [saved(board, f"{number}") for number in range(5)]
    first = ask(["mine.html"], limit=2).json()
    top = history("pane:1", limit=0)
    assert (first["epoch"], first["offset"]) == (top.epoch, top.offset)
    pages = [first]
    while "next" in pages[-1]:
        pages.append(ask(["mine.html"], limit=2, after=pages[-1]["next"], since=first["version"]).json())
    assert [row["key"] for page in pages for row in page["rows"]] == [str(ticket.pk) for ticket in made]
    assert len(pages) == 3 and pages[1]["removed"] == {}


def test_a_template_shows_the_rows_of_those_who_name_it(board: str, ask: Ask) -> None:
    """In a channel of several live models; one that nobody names shows all."""
    saved(board, "ticket")
    Note.objects.using(board).create(name="note", board_id=1)
    with shown(HtmlLive, "pane:{board_id}"), shown(NoteLive, "pane:{board_id}"):
        rows = ask(["row.html", "mine.html"]).json()["rows"]
    found = {row["key"]: row["html"] for row in rows if row["key"].startswith("note-")}
    assert found["note-note"]["row.html"] == "" and "note for ann" in found["note-note"]["mine.html"]


def test_nobody_has_a_template_of_their_choice_rendered(board: str, ask: Ask) -> None:
    saved(board, "there")
    assert ask(["row.html"]).status_code == 200
    answer = ask(["row.html"], signed="pane:2")
    assert answer.status_code == 403 and "load the page anew" in answer.json()["error"]["message"]
    client = Client()
    client.force_login(User.objects.get(username="ann"))
    for query, status in (
        ("", 400),
        ("?template=row.html", 400),
        (f"?template=mine.html&signature={signature('board:1', 'row.html')}", 403),
        ("?template=../../etc/passwd&signature=x", 403),
        ("?template=row.html&signature=", 403),
        ("?" + "&".join(["template=row.html&signature=x"] * 9), 400),
    ):
        answer = client.get(f"/flotilla/fragment/pane:1{query}")
        assert answer.status_code == status, query
        assert b"there" not in answer.content
    assert client.post("/flotilla/fragment/pane:1").status_code == 405


def test_answers_are_kept_by_nobody(board: str, ask: Ask) -> None:
    for more in ({}, {"key": "1"}):
        assert ask(["mine.html"], **more)["Cache-Control"] == "no-store"
        assert json.loads(ask(["mine.html"], **more).content)["rows"] == []


def test_the_scripts_are_files_of_this_host(render: Render) -> None:
    html = render('{% live_script nonce="abc" %}')
    scripts = [attributes for tag, attributes in Elements(html).found if tag == "script"]
    assert [script["src"] for script in scripts] == [
        "/static/realtime/vendor/centrifuge.js",
        "/static/realtime/live-html.js",
    ]
    assert all(script["nonce"] == "abc" for script in scripts)
    assert scripts[1]["type"] == "module" and scripts[1]["data-root"] == "/"
    assert re.sub(r"<[^>]*>", "", html).strip() == ""
    assert "nonce" not in render("{% live_script %}")
