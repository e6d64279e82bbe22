"""Who gets the state of a channel: those who may subscribe to it, and nobody else."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flotilla import block, publish, unblock
from flotilla.realtime.access.tokens import make_connection_token, make_subscription_token
from tests.realtime.live.state_rows import AudienceLive, TicketLive, saved
from tests.realtime.live.states import *  # noqa: F403  fixtures
from tests.realtime.live.states import Get, rows, shown

pytestmark = pytest.mark.django_db(transaction=True)


def test_two_users_of_different_rights(board: str, ann: User) -> None:
    """A channel for each audience: the same rows, and who may not subscribe to one gets no row of it."""
    staff = User.objects.create_user("root", is_staff=True)
    saved(board, "for all")
    saved(board, "for staff", audience="staff")
    with shown(AudienceLive, "audience:{audience}:{board_id}"):
        for user, may in ((ann, False), (staff, True)):
            client = Client()
            client.force_login(user)
            assert [data["title"] for _, data in rows(client.get("/flotilla/state/audience:all:1"))] == ["for all"]
            answer = client.get("/flotilla/state/audience:staff:1")
            assert answer.status_code == (200 if may else 403)
            assert (b"for staff" in answer.content) is may


def test_a_confirmation_is_for_those_who_may(board: str, ann: User) -> None:
    staff = Client()
    staff.force_login(User.objects.create_user("root", is_staff=True))
    saved(board, "for staff", audience="staff")
    publish("audience:staff:1", "begun")
    with shown(AudienceLive, "audience:{audience}:{board_id}"):
        tag = staff.get("/flotilla/state/audience:staff:1")["ETag"]
        other = Client()
        other.force_login(ann)
        assert other.get("/flotilla/state/audience:staff:1", headers={"If-None-Match": tag}).status_code == 403


def test_by_connection_token(board: str, ann: User) -> None:
    def status(token: str) -> int:
        answer = Client().get("/flotilla/state/pane:1", headers={"Authorization": f"Bearer {token}"})
        return int(answer.status_code)

    assert status(make_connection_token(ann)) == 200
    assert status(make_connection_token("of no Django user")) == 200
    assert status(make_connection_token(ann, ttl=-1)) == 401
    assert status("nonsense") == 403
    ann.is_active = False
    ann.save()
    assert status(make_connection_token(ann)) == 403
    assert Client().get("/flotilla/state/pane:1").status_code == 403


def test_a_private_channel_by_subscription_token(board: str, ann: User, get: Get) -> None:
    with shown(TicketLive, "$pane:{board_id}"):
        saved(board, "secret")
        assert get("$pane:1").status_code == 403
        token = make_subscription_token(ann, "$pane:1")
        assert [data["title"] for _, data in rows(get("$pane:1", **{"X-Subscription-Token": token}))] == ["secret"]
        for other in (
            make_subscription_token(ann, "$pane:2"),
            make_subscription_token("other", "$pane:1"),
            make_connection_token(ann),
            "x",
        ):
            assert get("$pane:1", **{"X-Subscription-Token": other}).status_code == 403
        expired = make_subscription_token(ann, "$pane:1", ttl=-1)
        assert get("$pane:1", **{"X-Subscription-Token": expired}).status_code == 401


def test_who_is_blocked_gets_nothing(board: str, ann: User, get: Get) -> None:
    block(ann, seconds=60, within=0.1)
    assert get().status_code == 403
    unblock(ann, within=0.1)
    block(address="127.0.0.1", seconds=60, within=0.1)
    assert get().status_code == 403
    unblock(address="127.0.0.1", within=0.1)
    assert get().status_code == 200


WITHOUT = (
    ("closed:1", 403, 103),
    ("nothing:1", 404, 102),
    ("pane:", 404, 404),
    ("pane:x", 404, 404),
    ("plain:1", 400, 108),
    ("cached:1", 400, 108),
    ("pane:" + "1" * 300, 400, 107),
    ("pane:ä", 400, 107),
    ("pane:1\x00", 400, 107),
    ("pane:\U0001f600", 400, 107),
)


def test_channels_without_a_state(board: str, get: Get) -> None:
    for channel, status, code in WITHOUT:
        answer = get(channel)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), channel
