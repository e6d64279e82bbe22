"""What is wrong with a live model is said before it runs, with its mend."""

from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from flotilla import LiveModel, live
from flotilla.realtime.live.checks import check_live
from tests.realtime.live.desk.models import Author, Plain, Ticket
from tests.realtime.live.support import Show


def found() -> list[CheckMessage]:
    return check_live(None)


def only(number: str) -> CheckMessage:
    [message] = found()
    assert message.id == f"flotilla_realtime.{number}", message
    return message


def test_nothing_is_wrong_with_the_desk() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("body", "channels", "number", "hint"),
    [
        ({}, ("ticket:{id}",), "E071", "one of fields"),
        ({"fields": ("id",), "data": lambda self, row: {}}, ("ticket:{id}",), "E071", "one of fields"),
        ({"fields": ("id", "tittle")}, ("ticket:{id}",), "E072", "'title'"),
        ({"fields": ("author__nam",)}, ("ticket:{id}",), "E072", "data(row)"),
        ({"fields": ("labels__name",)}, ("ticket:{id}",), "E072", "data(row)"),
        ({"fields": ("id",), "key": "nothing"}, ("ticket:{id}",), "E072", "has a column"),
        ({"fields": ("id",), "depends_on": ("title",)}, ("ticket:{id}",), "E072", "title"),
        ({"fields": ("id",)}, ("ticket:{bord_id}",), "E072", "'board_id'"),
        ({"fields": ("id",)}, (lambda row: "ticket:1",), "E073", "rows(self, channel)"),
        ({"fields": ("id",)}, ("{title}",), "E074", "namespace"),
        ({"fields": ("id",)}, ("nowhere:{id}",), "E075", "namespaces"),
        ({"fields": ("id",)}, ("tickets",), "E076", "force_recovery"),
        ({"fields": ("id",)}, ("board:{id}",), "E078", "key_prefix"),
    ],
)
def test_faults(show: Show, body: Any, channels: Any, number: str, hint: str) -> None:
    show(type("Wrong", (LiveModel,), {"model": Ticket, "__module__": __name__, **body}), *channels)
    assert hint in str(only(number).hint)


def test_bytes(show: Show) -> None:
    class Bytes(LiveModel):
        model = Ticket
        fields = ("id",)

    show(Bytes, "bytes:{id}")
    options = {"history_size": 10, "history_ttl": 60, "force_recovery": True, "publication_data_format": "binary"}
    with override_settings(REALTIME={"namespaces": {"bytes": options}}):
        only("E077")


@pytest.mark.parametrize("option", ["allow_publish_for_client", "allow_publish_for_subscriber"])
def test_clients_that_may_publish(show: Show, option: str) -> None:
    """One could say to all others that a row is another one, or of a version that no change will ever reach."""

    class Open(LiveModel):
        model = Ticket
        fields = ("id",)

    show(Open, "open:{id}")
    options = {"history_size": 10, "history_ttl": 60, "force_recovery": True, option: True}
    with override_settings(REALTIME={"namespaces": {"open": options}}):
        assert option in str(only("W072").hint)


def test_a_manager_that_is_not_live(show: Show) -> None:
    class AuthorLive(LiveModel):
        model = Author
        fields = ("name",)

    show(AuthorLive, "author:{id}")
    assert "LiveManager()" in str(only("W070").hint)


def test_keys_may_be_told_apart(show: Show) -> None:
    class Other(LiveModel):
        model = Plain
        fields = ("title",)
        key_prefix = "plain-"

    show(Other, "board:{board_id}")
    assert found() == []


@pytest.mark.parametrize(
    ("declared", "channels", "message"),
    [
        (type("NoModel", (LiveModel,), {}), ("ticket:{id}",), "set `model`"),
        (type("NoChannel", (LiveModel,), {"model": Ticket}), (), "where its rows are shown"),
        (type("Both", (LiveModel,), {"model": Ticket}), ("a:{id}", lambda row: "a:1"), "patterns or one function"),
        (type("Broken", (LiveModel,), {"model": Ticket}), ("a:{id",), "no pattern"),
        (type("Formatted", (LiveModel,), {"model": Ticket}), ("a:{id:>5}",), "alone in the braces"),
        (type("TicketLive", (LiveModel,), {"model": Ticket, "__module__": "x"}), ("a:{id}",), "two live models"),
        (int, ("a:{id}",), "subclass of LiveModel"),
    ],
)
def test_what_cannot_be_declared(declared: Any, channels: Any, message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        live(*channels)(declared)
