"""Users as people name them in commands: who is meant is said, and nobody is refused."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from flotilla.realtime.node.node import Node
from tests.realtime.management.shell import failing, people, run

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

COMMANDS = (
    ("disconnect",),
    ("refresh", "--expired"),
    ("reauthorize",),
    ("subscribe", "closed:a"),
    ("unsubscribe", "open:a"),
    ("block", "--seconds", "60"),
    ("unblock",),
    ("connections",),
)


def user(name: str, **more: int) -> User:
    return User.objects.create_user(name, **more)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
async def test_every_command_refuses_whom_nobody_knows(node: Node, command: tuple[str, ...]) -> None:
    """And does nothing."""
    (peer,) = await people(node, "ann")
    for name, said in (
        ("ann", "There is no user 'ann': it is the username or the primary key of nobody"),
        ("name:7", "There is no user '7': it is the username of nobody"),
        ("pk:ann", "There is no user 'ann': it is the primary key of nobody"),
        ("", "An empty name is no user's"),
        ("a\0b", "There is no user"),
        ("9" * 30, "There is no user"),
    ):
        assert (await failing(*command, "--user", name)).startswith(said), name
    assert peer.socket.closed is None
    assert set(peer.client.subscriptions) == {"open:a"}


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command[0] != "unblock"], ids=lambda one: one[0]
)
async def test_every_command_finds_a_user_by_name_or_key(node: Node, command: tuple[str, ...]) -> None:
    ann = await sync_to_async(user)("ann")
    for name in ("ann", str(ann.pk), "name:ann", f"pk:{ann.pk}", f"id:{ann.pk}"):
        await people(node, str(ann.pk))
        said = await run(*command, "--user", name)
        assert f"id {ann.pk}" in said
        assert ("ann (id" in said) is (not name.startswith("id:"))
        assert " 0 " not in said, "it hit nobody"
        await run("unblock", "--user", name) if command[0] == "block" else None


async def test_a_name_that_is_anothers_key_is_not_guessed(node: Node) -> None:
    ann = await sync_to_async(user)("ann")
    numbered = await sync_to_async(user)(str(ann.pk))
    here, there = await people(node, str(ann.pk), str(numbered.pk))
    said = await failing("disconnect", "--user", str(ann.pk))
    assert said == (
        f"'{ann.pk}' is the username of one user (pk:{numbered.pk}) and the primary key of another (name:ann): "
        f"write name:{ann.pk} or pk:{ann.pk}."
    )
    assert "1 connections ended" in await run("disconnect", "--user", f"name:{ann.pk}")
    assert (await there.end())[0] == 3503
    assert here.socket.closed is None
    assert "1 connections ended" in await run("disconnect", "--user", f"pk:{ann.pk}")
    assert (await here.end())[0] == 3503


async def test_a_key_counts_as_it_is_written(node: Node) -> None:
    """A user called 007 is not user 7."""
    ann = await sync_to_async(user)("ann")
    assert "There is no user" in await failing("disconnect", "--user", f"00{ann.pk}")
    agent = await sync_to_async(user)(f"00{ann.pk}")
    assert f"user: 00{ann.pk} (id {agent.pk})" in await run("disconnect", "--user", f"00{ann.pk}")


async def test_ids_that_only_tokens_know_are_told_apart(node: Node) -> None:
    (peer,) = await people(node, "customer-17")
    assert "id:customer-17" in await failing("disconnect", "--user", "customer-17")
    said = await run("disconnect", "--user", "id:customer-17")
    assert said.startswith("user: id customer-17\n1 connections ended")
    assert (await peer.end())[0] == 3503
