"""The example without a browser: its rule, its models' publications, its pages, and who is made for `make run`."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import call_command
from django.db import transaction
from django.test import Client

from examples.rooms.models import Membership, Message, Room
from examples.rooms.namespaces import NAMESPACES
from examples.rooms.rules import is_member
from flotilla import history
from flotilla.realtime.conf import get_config
from flotilla.realtime.protocol.codes import CommandError
from flotilla.store import get_store

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.examples.rooms_urls")]


@pytest.fixture(autouse=True)
def _example(configured: Any) -> Iterator[None]:
    configured.REALTIME = {"namespaces": NAMESPACES}
    get_config.reset()
    yield
    asyncio.run(get_store().close())


@pytest.fixture
def room(ann: User) -> Room:
    """With ann in it."""
    made = Room.objects.create(name="lobby")
    Membership.objects.create(room=made, user=ann)
    return made


@pytest.fixture
def bob() -> User:
    """Who is in no room."""
    return User.objects.create_user("bob", password="the password of bob")


@pytest.fixture
def visitor(client: Client, ann: User) -> Client:
    """Ann's browser."""
    client.force_login(ann)
    return client


def published() -> list[Any]:
    return [one["data"]["text"] for one in history("room:lobby").publications]


def test_members_and_nobody_else_may_subscribe(room: Room, ann: User, bob: User) -> None:
    assert is_member(ann, "room:lobby", None) and is_member(ann, "typing:lobby", None)
    for whom in (bob, AnonymousUser(), "", "a user that tokens alone know"):
        assert not is_member(whom, "room:lobby", None)
    for channel in ("room:", "room:nowhere", "room:lobby:lobby", "room:" + "9" * 200):
        assert not is_member(ann, channel, None)


def test_message_is_published_when_it_is_committed(room: Room, ann: User) -> None:
    with transaction.atomic():
        Message.objects.create(room=room, author=ann, text="first")
        assert published() == []
    assert published() == ["first"]
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Message.objects.create(room=room, author=ann, text="never")
        raise ZeroDivisionError
    assert published() == ["first"]


def test_typing_is_kept_nowhere() -> None:
    with pytest.raises(CommandError, match="108"):
        history("typing:lobby")


def test_message_is_sent_and_shown_to_members_alone(visitor: Client, room: Room, bob: User) -> None:
    answer = visitor.post("/rooms/lobby/messages/", {"text": "hello"})
    assert answer.status_code == 201 and published() == ["hello"]
    found = visitor.get("/rooms/lobby/messages/").json()
    assert [message["text"] for message in found["messages"]] == ["hello"]
    assert list(found["members"].values()) == ["ann"]
    visitor.force_login(bob)
    for path in ("/rooms/lobby/", "/rooms/lobby/messages/"):
        assert visitor.get(path).status_code == 404
    assert visitor.post("/rooms/lobby/messages/", {"text": "me too"}).status_code == 404
    visitor.logout()
    assert visitor.get("/rooms/lobby/")["Location"] == "/rooms/login/?next=/rooms/lobby/"
    assert published() == ["hello"]


@pytest.mark.parametrize("text", ["", "   ", "x" * 1001, "\0"])
def test_what_is_no_message_is_refused(visitor: Client, room: Room, text: str) -> None:
    assert visitor.post("/rooms/lobby/messages/", {"text": text}).status_code == 400
    assert published() == []


def test_forged_post_is_refused(ann: User, room: Room) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    assert client.post("/rooms/lobby/messages/", {"text": "forged"}).status_code == 403


def test_people_are_made_once_and_left_as_they_are() -> None:
    call_command("make_rooms", "the first password")
    ann, bob = (User.objects.get(username=name) for name in ("ann", "bob"))
    assert ann.check_password("the first password") and not (ann.is_staff or bob.is_staff)
    assert set(Membership.objects.filter(user=bob).values_list("room_id", flat=True)) == {"lobby"}
    Membership.objects.filter(user=bob).delete()
    call_command("make_rooms", "another password")
    assert not Membership.objects.filter(user=bob).exists()
    assert User.objects.get(username="ann").check_password("the first password")


def test_migrations_are_complete() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
