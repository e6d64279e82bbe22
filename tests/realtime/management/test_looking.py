"""Commands that look: rows as a table and as a document, in pages; what is missing is said."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from flotilla import apublish
from flotilla.realtime.node.node import Node
from flotilla.store.shards import reset_store
from tests.realtime.client.peers import Peer
from tests.realtime.management.shell import document, failing, people, run
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

LOOKS = (("connections",), ("channels",), ("instances",), ("presence", "open:a"), ("history", "open:a"))


async def test_connections_of_all_instances(node: Node, other: Node) -> None:
    """With names where there are some, and only those asked for."""
    ann = await sync_to_async(User.objects.create_user)("ann")
    here, _ = await people(node, str(ann.pk), "x")
    (there,) = await people(other, "y", room="plain:b")
    said = await run("connections")
    assert f"ann ({ann.pk})" in said
    assert "3 connections; 2 of 2 instances answered" in said
    told = await document("connections", "--user", "ann")
    assert (told["user"], told["username"], told["total"], told["next"]) == (str(ann.pk), "ann", 1, "")
    (row,) = told["connections"]
    assert (row["client"], row["username"], row["instance"], row["channels"]) == (
        here.client.id,
        "ann",
        "unit-0",
        ["open:a"],
    )
    assert [row["user"] for row in (await document("connections", "--channel", "plain:b"))["connections"]] == ["y"]
    assert [row["user"] for row in (await document("connections", "--text", "x"))["connections"]] == ["x"]
    (row,) = (await document("connections", "--client", there.client.id))["connections"]
    assert row["user"] == "y"


async def test_channels_and_instances(node: Node, other: Node) -> None:
    await people(node, "1", "2")
    await people(other, "3", room="plain:b")
    await apublish("open:a", 1)
    said = await run("channels")
    assert said.splitlines()[1].split()[:5] == ["open:a", "2", "2", "1", "1"]
    assert said.splitlines()[2].split()[:5] == ["plain:b", "1", "-", "-", "-"]
    assert [row["channel"] for row in (await document("channels", "plain"))["channels"]] == ["plain:b"]
    assert [row["channel"] for row in (await document("channels", "*:a"))["channels"]] == ["open:a"]
    told = await document("instances")
    assert [(row["name"], row["draining"]) for row in told["instances"]] == [("unit-0", False), ("unit-1", False)]
    assert "2 instances" in await run("instances")
    assert "1 instance\n" in await run("instances", "unit-1")


async def test_who_is_in_a_channel(node: Node) -> None:
    ann = await sync_to_async(User.objects.create_user)("ann")
    (peer,) = await people(node, str(ann.pk))
    visitor = Peer(node)
    await visitor.connect()
    await visitor.subscribe("open:a")
    said = await run("presence", "open:a")
    assert f"ann ({ann.pk})" in said and "(visitor)" in said
    assert "2 connections of 2 users in open:a" in said
    told = await document("presence", "open:a")
    assert (told["channel"], told["connections"]) == ("open:a", 2)
    assert {row["client"] for row in told["members"]} == {peer.client.id, visitor.client.id}
    assert {row["info"]["user"] for row in told["members"] if row["user"]} == {str(ann.pk)}
    assert "`presence` is off" in await failing("presence", "plain:b")
    assert "unknown channel" in await failing("presence", "nowhere:b")


async def test_what_a_channel_keeps(node: Node) -> None:
    """The newest first, each byte of a payload in the document, and one line in the table."""
    for number in range(4):
        await apublish("open:a", {"n": number})
    odd = "\u009b31m\x1b]0;\ud83d\U0001f600"
    await apublish("open:a", odd, tags={"kind": "odd"})
    (peer,) = await people(node, "7")
    await peer.ask(publish={"channel": "open:a", "data": {"by": 7}})
    said = await run("history", "open:a")
    lines = said.splitlines()
    assert lines[1].split(maxsplit=2) == ["6", "7", '{"by": 7}']
    assert lines[2].split()[:2] == ["5", "(server)"]
    assert lines[-1].startswith("top offset 6 of epoch ")
    assert "\x1b" not in said and "\u009b" not in said
    told = await document("history", "open:a", "--limit", "2")
    assert [row["offset"] for row in told["publications"]] == [6, 5]
    assert told["publications"][0]["info"]["user"] == "7"
    assert (told["publications"][1]["data"], told["publications"][1]["tags"]) == (odd, {"kind": "odd"})
    assert (told["offset"], told["next"]) == (6, "5")
    told = await document("history", "open:a", "--oldest", "--limit", "3", "--after", "1")
    assert [row["data"] for row in told["publications"]] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert "keeps no history" in await failing("history", "plain:b")
    assert "is no cursor" in await failing("history", "open:a", "--after", "x", status=2)
    assert "top offset 0" in await run("history", "open:never")


async def test_pages_hold_everything_once(node: Node) -> None:
    await people(node, *(str(number) for number in range(7)))
    for number in range(7):
        await apublish("open:a", number)
    for words, rows_are, key in (
        (("connections",), "connections", "client"),
        (("history", "open:a"), "publications", "offset"),
        (("history", "open:a", "--oldest"), "publications", "offset"),
    ):
        seen, after, pages = [], "", 0
        while pages == 0 or after:
            told = await document(*words, "--limit", "3", *(("--after", after) if after else ()))
            seen += [row[key] for row in told[rows_are]]
            after, pages = told["next"], pages + 1
        assert pages == 3
        assert len(seen) == len(set(seen)) == 7
    said = await run("connections", "--limit", "3")
    assert said.splitlines()[-1].startswith("more: --after ")


@pytest.mark.parametrize("command", LOOKS, ids=lambda command: command[0])
async def test_nothing_is_said_to_be_nothing(node: Node, command: tuple[str, ...]) -> None:
    await until(lambda: node.heartbeat.alive and node.presence.alive)
    assert len((await run(*command)).splitlines()) == (3 if command[0] == "instances" else 1)
    assert (await document(*command))["next"] == ""


async def test_an_instance_that_does_not_answer_is_said(node: Node) -> None:
    """After what the others have told, with status 1."""
    await people(node, "7")
    node.hub.on_control = None
    for command in ("connections", "channels"):
        said = await failing(command, "--within", "0.1")
        assert said == "1 instances have not answered within the deadline: their rows are missing."


@pytest.mark.parametrize("command", [*LOOKS, ("tail", "open:a")], ids=lambda command: command[0])
async def test_a_redis_that_is_away_is_said_in_a_sentence(
    configured: Any, tmp_path: Any, command: tuple[str, ...]
) -> None:
    configured.REDIS_URLS = [f"unix://{tmp_path}/nobody.sock"]
    reset_store()
    said = await failing(*command, status=3)
    assert said.startswith("Redis does not answer: ")
    assert said.endswith("Is Redis running, and is REDIS_URL right?")


@pytest.mark.parametrize("limit", ["0", "-1", "101", "many", "1e1"])
async def test_more_than_a_page_is_refused(node: Node, limit: str) -> None:
    assert "is not a whole number from 1 to 100" in await failing("connections", f"--limit={limit}")
