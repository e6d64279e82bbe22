"""The example without a browser: what is told, in which transaction, and whose notices are whose."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction
from django.test import Client

from examples.notices.models import Notice
from examples.notices.namespaces import NAMESPACES
from flotilla.realtime.conf import get_config
from flotilla.realtime.models import OutboxRow
from flotilla.store import get_store

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.examples.notices_urls")]


@pytest.fixture(autouse=True)
def _example(configured: Any) -> Iterator[None]:
    configured.REALTIME = {"namespaces": NAMESPACES}
    get_config.reset()
    yield
    asyncio.run(get_store().close())


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob", password="the password of bob")


@pytest.fixture
def visitor(client: Client, ann: User) -> Client:
    """Ann's browser."""
    client.force_login(ann)
    return client


def told() -> list[str]:
    """The channels of what waits in the outbox, which is emptied."""
    found = list(OutboxRow.objects.order_by("id").values_list("channel", flat=True))
    OutboxRow.objects.all().delete()
    return found


def test_a_notice_and_what_is_told_of_it_are_committed_together(ann: User) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Notice.objects.create(recipient=ann, text="never")
        raise ZeroDivisionError
    assert told() == []
    with transaction.atomic():
        Notice.objects.create(recipient=ann, text="first")
    assert told() == [f"notices:#{ann.pk}"]


def test_a_notice_is_written_for_somebody_and_read_by_them_alone(visitor: Client, ann: User, bob: User) -> None:
    answer = visitor.post("/notices/write/", {"recipient": bob.pk, "text": "<b>hello</b>"})
    assert (answer.status_code, answer["Location"]) == (302, "/notices/")
    assert told() == [f"notices:#{bob.pk}"]
    (notice,) = Notice.objects.all()
    assert b"hello" not in visitor.get("/notices/").content
    visitor.post("/notices/read/", {"notice": notice.pk})
    visitor.post("/notices/read/")
    assert told() == [] and not Notice.objects.get().is_read
    visitor.force_login(bob)
    page = visitor.get("/notices/").content.decode()
    assert "1 unread" in page and "&lt;b&gt;hello&lt;/b&gt;" in page
    visitor.post("/notices/read/", {"notice": notice.pk})
    assert told() == [f"notices:#{bob.pk}"] and "0 unread" in visitor.get("/notices/").content.decode()
    visitor.post("/notices/read/")
    assert told() == [], "nothing has changed"
    for wrong in ("x", "-1", "9" * 40):
        assert visitor.post("/notices/read/", {"notice": wrong}).status_code in (302, 400)


@pytest.mark.parametrize("text", ["", "   ", "x" * 201, "\0"])
def test_what_is_no_notice_is_refused(visitor: Client, bob: User, text: str) -> None:
    assert visitor.post("/notices/write/", {"recipient": bob.pk, "text": text}).status_code == 400
    assert told() == []


def test_visitors_log_in_and_forged_posts_are_refused(client: Client, ann: User) -> None:
    assert client.get("/notices/")["Location"] == "/notices/login/?next=/notices/"
    checked = Client(enforce_csrf_checks=True)
    checked.force_login(ann)
    for path in ("read", "write"):
        assert client.post(f"/notices/{path}/").status_code == 302
        assert checked.post(f"/notices/{path}/", {"recipient": ann.pk, "text": "forged"}).status_code == 403
    assert not Notice.objects.exists()


def test_migrations_are_complete() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
