"""The outbox in the admin: what waits, what was sent, what was set aside and why; each deed is in the log."""

import html
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import OperationalError
from django.utils import timezone

from flotilla.realtime.admin import base
from flotilla.realtime.admin import outbox as page_of_outbox
from flotilla.realtime.api.outbox import MAX_BODY
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.rows import write
from tests.realtime.admin.staff import Staff, logged
from tests.realtime.outbox.writing import write_change

pytestmark = pytest.mark.django_db(transaction=True)


def written(channel: str, body: bytes = b'{"data":{"text":"<hello>"}}', **columns: Any) -> str:
    """A row of the outbox, as it is named."""
    write(channel, body, {})
    row = OutboxRow.objects.latest("id")
    OutboxRow.objects.filter(pk=row.pk).update(**columns)
    return f"default:{row.pk}"


def aside(channel: str, error: str = "the publication is too large", **columns: Any) -> str:
    """One that was set aside."""
    return written(channel, failed_at=timezone.now(), attempts=5, error=error, **columns)


def get(who: Staff, query: str = "", name: str = "") -> Any:
    return who._client.get(who._url(query, f"outboxrow/{name.replace(':', '_3A')}/change" if name else ""))


def post(who: Staff, name: str = "", **fields: Any) -> Any:
    url = who._url("", f"outboxrow/{name.replace(':', '_3A')}/change" if name else "")
    return who._client.post(url, fields, follow=True)


def shown(page: Any) -> list[str]:
    return [row["row"] for row in page.context["page"].rows]


def test_the_list_has_states_and_filters() -> None:
    waits, sent, failed = written("chat:a"), written("chat:b", sent_at=timezone.now()), aside("chat:a")
    viewer = Staff("outboxrow", "view_outboxrow")
    page = get(viewer)
    assert shown(page) == [failed, sent, waits]
    text = page.content.decode()
    assert "the publication is too large" in text and "<strong>set aside</strong>" in text
    assert text.count('name="selected"') == 0 and 'name="action"' not in text
    assert 'name="database"' not in text  # there is one alone
    assert "hello" not in text
    for query, names in (
        ("?state=waiting", [waits]),
        ("?state=sent", [sent]),
        ("?state=set+aside", [failed]),
        ("?state=nonsense", [failed, sent, waits]),
        ("?q=chat:a", [failed, waits]),
        ("?q=chat:a&state=waiting", [waits]),
        ("?q=chat", []),
    ):
        assert shown(get(viewer, query)) == names, query
    assert "<option selected>sent</option>" in get(viewer, "?state=sent").content.decode()


def test_pages_count_nothing_and_hold_every_row_once(
    monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(base, "PAGE", 3)
    names = [written("chat:a") for _ in range(7)]
    viewer = Staff("outboxrow", "view_outboxrow")
    seen, query = [], "?state=waiting"
    for _ in range(3):
        with django_assert_max_num_queries(6) as asked:
            page = get(viewer, query)
        assert not any("COUNT(" in one["sql"].upper() for one in asked.captured_queries)
        assert page.context["page"].total is None
        seen += shown(page)
        query = "?" + page.context["following"]
    assert (query, seen) == ("?", names)


def test_what_was_set_aside_is_tried_again_and_dropped_with_a_log() -> None:
    """Only that can be selected; dropping asks first."""
    waits, first, second, third = written("chat:a"), aside("chat:a"), aside("chat:b"), aside("chat:c")
    boss = Staff("outboxrow", "control_outboxrow")
    assert get(boss).content.decode().count('name="selected"') == 3
    page = post(boss, action="retry", selected=[first, waits])
    assert "1 publication will be tried again." in page.content.decode()
    assert OutboxRow.objects.filter(failed_at=None, channel="chat:a").count() == 2
    page = post(boss, action="drop", selected=[second, third])
    asks = page.content.decode()
    assert "2 publications" in asks and f"chat:b: publish, 27 bytes, row {second}" in asks
    assert OutboxRow.objects.filter(failed_at__isnull=False).count() == 2
    assert (
        "2 publications dropped."
        in post(boss, action="drop", selected=[second, third], confirmed="yes").content.decode()
    )
    assert not OutboxRow.objects.filter(failed_at__isnull=False).exists()
    again = html.unescape(
        post(boss, action="drop", selected=[second, waits, "x", "other:1"], confirmed="yes").content.decode()
    )
    assert "only what was set aside is tried again, or dropped" in again
    assert sync_logged() == [
        (
            "tries again to send a publication to chat:a",
            f"tries again to send a publication to chat:a: publish, row {first}",
        ),
        ("dropped a publication to chat:b", f"dropped a publication to chat:b: publish, row {second}"),
        ("dropped a publication to chat:c", f"dropped a publication to chat:c: publish, row {third}"),
    ]


def sync_logged() -> list[tuple[str, str]]:
    from asgiref.sync import async_to_sync

    return async_to_sync(logged)()


def test_a_row_has_a_page_whose_publication_is_for_those_who_may_see_payloads() -> None:
    name = aside("chat:a", "<b>bad</b>")
    viewer = Staff("outboxrow", "view_outboxrow")
    text = get(viewer, name=name).content.decode()
    assert "&lt;b&gt;bad&lt;/b&gt;" in text and "27 bytes." in text
    assert "hello" not in text and 'name="action"' not in text
    assert post(viewer, name, action="drop", confirmed="yes").status_code == 403
    viewer.allow("view_outboxrow", "tail_payloads")
    text = get(viewer, name=name).content.decode()
    assert '{"data":{"text":"<hello>"}}' in html.unescape(text)
    assert "<hello>" not in text
    boss = viewer
    boss.allow("control_outboxrow")
    done = post(boss, name, action="retry").content.decode()
    assert "1 publication will be tried again." in done and "There is no such row" in done
    assert OutboxRow.objects.get().failed_at is None


def test_of_a_large_publication_the_beginning_is_shown() -> None:
    name = written("chat:a", b'{"data":"%s"}' % (b"x" * 100_000))
    page = get(Staff("outboxrow", "view_outboxrow", "tail_payloads"), name=name)
    assert len(page.context["said"]) == MAX_BODY
    assert "100011 bytes in all" in page.content.decode()


def test_bytes_that_are_no_text_are_shown() -> None:
    name = written("chat:a", b"\xff\0<\x1b")
    page = get(Staff("outboxrow", "view_outboxrow", "tail_payloads"), name=name)
    assert "\ufffd" in page.content.decode() and "\ufffd\0&lt;" in page.content.decode()


def test_a_change_of_a_live_model_says_of_which_row() -> None:
    write_change("board:1", "7", "set", live="shop.Order", body=None)
    viewer = Staff("outboxrow", "view_outboxrow")
    page = get(viewer)
    assert "set 7 of shop.Order" in page.content.decode()
    text = get(viewer, name=shown(page)[0]).content.decode()
    assert "set 7 of shop.Order" in text and "made from the row when it is sent" in text


@pytest.mark.parametrize("name", ["default:1", "default:x", "other:1", "x", f"default:{'9' * 50}", "default:%00", "_"])
def test_a_row_that_is_not_there_is_said(name: str) -> None:
    page = get(Staff("outboxrow", "view_outboxrow"), name=name)
    assert page.status_code == 200
    assert "facts" not in page.context
    assert any(
        word in page.content.decode()
        for word in ("There is no such row", "is not the id", "has an outbox", "cannot be")
    )


def test_of_several_databases_one_is_shown_at_a_time(on_sqlite: str) -> None:
    here = written("chat:here")
    write("chat:there", b"{}", {}, using=on_sqlite)
    there = f"{on_sqlite}:{OutboxRow.objects.using(on_sqlite).get().pk}"
    viewer = Staff("outboxrow", "view_outboxrow")
    assert shown(get(viewer)) == [here]
    page = get(viewer, f"?database={on_sqlite}")
    assert shown(page) == [there]
    assert f"<option selected>{on_sqlite}</option>" in page.content.decode()
    assert shown(get(viewer, "?database=nonsense")) == [here]
    assert "chat:there" in get(viewer, name=there).content.decode()
    OutboxRow.objects.using(on_sqlite).update(failed_at=timezone.now())
    viewer.allow("control_outboxrow")
    assert "1 publication dropped." in post(viewer, action="drop", selected=there, confirmed="yes").content.decode()
    assert not OutboxRow.objects.using(on_sqlite).exists()
    assert OutboxRow.objects.count() == 1


def test_a_database_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """On every page, and by each action."""

    def away(*_: object, **__: object) -> None:
        raise OperationalError("connection refused\nIs it running?")

    name = aside("chat:a")
    boss = Staff("outboxrow", "control_outboxrow")
    for attribute in ("rows", "row", "retry", "drop"):
        monkeypatch.setattr(page_of_outbox.outbox, attribute, away)
    for page in (get(boss), get(boss, name=name), post(boss, action="retry", selected=name)):
        assert "The database does not answer: connection refused" in page.content.decode()
        assert "Is it running" not in page.content.decode()


def test_a_right_on_one_row_counts_for_that_row(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", f"{__name__}.OfChat"]
    first, second = aside("chat:a"), aside("chat:b")
    Mine.pk = int(first.partition(":")[2])
    someone = Staff("outboxrow", "view_outboxrow")
    assert get(someone).content.decode().count('name="selected"') == 1
    assert post(someone, action="drop", selected=second, confirmed="yes").status_code == 403
    assert "1 publication dropped." in post(someone, action="drop", selected=first, confirmed="yes").content.decode()


class Mine:
    """The row that the backend below knows."""

    pk = 0


class OfChat:
    """A backend that knows rights on single rows."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None

    def has_perm(self, user: Any, permission: str, obj: Any = None) -> bool:
        return permission == "flotilla_realtime.control_outboxrow" and isinstance(obj, OutboxRow) and obj.pk == Mine.pk


def test_nothing_is_added_changed_or_deleted_as_djangos_pages_do() -> None:
    boss = Staff("outboxrow", "control_outboxrow")
    assert Permission.objects.filter(content_type__model="outboxrow").values_list("codename", flat=True).count() == 2
    for page in ("outboxrow/add", "outboxrow/1/delete", "outboxrow/1/history"):
        assert boss._client.get(boss._url("", page)).status_code == 404
