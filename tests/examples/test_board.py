"""The board without a browser: its API, what its channel is told and shows, and the board that `make run` has."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from examples.board.models import Board, Ticket
from flotilla.realtime.models import OutboxRow

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.examples.board_urls")]
TICKETS = "/board/api/tickets/"


@pytest.fixture
def ann(client: Client) -> Client:
    """Ann's browser."""
    client.force_login(User.objects.create_user("ann"))
    return client


@pytest.fixture
def board() -> Board:
    return Board.objects.create(name="launch")


def told() -> list[tuple[str, str, str]]:
    """The changes that wait to be sent."""
    return list(OutboxRow.objects.order_by("id").values_list("channel", "operation", "key"))


def test_what_the_api_changes_is_told_to_the_board(ann: Client, board: Board) -> None:
    made = ann.post(TICKETS, {"board": "launch", "title": "a", "position": 1.5}, "application/json")
    assert made.status_code == 201
    key = made.json()["id"]
    assert made.json() == {"id": key, "board": "launch", "title": "a", "state": "todo", "position": 1.5}
    body = OutboxRow.objects.get().body
    assert body is not None and b'"title":"a"' in bytes(body).replace(b": ", b":")
    assert ann.patch(f"{TICKETS}{key}/", {"state": "done"}, "application/json").status_code == 200
    assert ann.delete(f"{TICKETS}{key}/").status_code == 204
    assert told() == [("tickets:launch", operation, str(key)) for operation in ("set", "set", "remove")]


def test_a_ticket_that_moves_to_another_board_leaves_this_one(ann: Client, board: Board) -> None:
    Board.objects.create(name="other")
    ticket = Ticket.objects.create(board=board, title="a")
    OutboxRow.objects.all().delete()
    assert ann.patch(f"{TICKETS}{ticket.pk}/", {"board": "other"}, "application/json").status_code == 200
    assert sorted(told()) == [("tickets:launch", "remove", str(ticket.pk)), ("tickets:other", "set", str(ticket.pk))]


@pytest.mark.parametrize("wrong", [{"state": "x"}, {"position": 1e300}, {"title": ""}, {"board": "nowhere"}])
def test_what_makes_no_sense_is_refused(ann: Client, board: Board, wrong: dict[str, Any]) -> None:
    ticket = Ticket.objects.create(board=board, title="a")
    assert ann.patch(f"{TICKETS}{ticket.pk}/", wrong, "application/json").status_code == 400
    assert ann.patch(f"{TICKETS}{ticket.pk}/", '{"position": 1e999}', "application/json").status_code == 400


def test_only_who_has_logged_in_may(client: Client, board: Board) -> None:
    ticket = Ticket.objects.create(board=board, title="a")
    for method, path in (
        (client.post, TICKETS),
        (client.patch, f"{TICKETS}{ticket.pk}/"),
        (client.delete, f"{TICKETS}{ticket.pk}/"),
    ):
        assert method(path, {}, "application/json").status_code == 403
    assert client.get("/board/").status_code == 302


def test_the_page_is_there_with_and_without_a_board(ann: Client) -> None:
    assert b"There is no board." in ann.get("/board/").content
    call_command("make_board")
    call_command("make_board")
    assert Ticket.objects.count() == 5
    assert [b'data-board="launch"' in ann.get(path).content for path in ("/board/", "/board/launch/")] == [True, True]
    assert ann.get("/board/nowhere/").status_code == 404
    assert ann.get(TICKETS).status_code == 405


def test_what_the_admin_changes_is_told_as_well(client: Client, board: Board) -> None:
    """Many at once too."""
    tickets = [Ticket.objects.create(board=board, title=str(number)) for number in range(3)]
    OutboxRow.objects.all().delete()
    client.force_login(User.objects.create_superuser("root"))
    form = {"action": "delete_selected", "_selected_action": [ticket.pk for ticket in tickets], "post": "yes"}
    assert client.post("/admin/board/ticket/", form).status_code == 302
    assert set(told()) == {("tickets:launch", "remove", str(ticket.pk)) for ticket in tickets}
