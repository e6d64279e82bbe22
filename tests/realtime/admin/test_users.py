"""Users in the admin: each once, over all instances; what is done reaches all of their connections."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from flotilla.realtime.admin import base
from flotilla.realtime.api.inspection import users
from flotilla.realtime.node.node import Node
from tests.realtime.admin.staff import logged, people, staff
from tests.realtime.client.peers import Peer

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


def rows(response: Any) -> list[tuple[str, int]]:
    return [(row["user"], row["connections"]) for row in response.context["page"].rows]


async def test_a_user_is_one_row_over_all_instances(node: Node, other: Node) -> None:
    """With the number of connections and the time of the oldest; visitors are counted apart."""
    first, *_ = await people(node, "1", "1", "2")
    await people(other, "1", "3")
    await Peer(node).connect()
    page = await (await staff("connecteduser", "view_connecteduser")).get()
    assert rows(page) == [("1", 3), ("2", 1), ("3", 1)]
    assert page.context["page"].rows[0]["since"].timestamp() == pytest.approx(first.client.since)
    assert b"1 connection of visitors" in page.content
    assert b"/admin/flotilla_realtime/connecteduser/1/change/" in page.content


async def test_pages_hold_everybody_once(node: Node, other: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though each instance gives pages of its own, and some users are on both."""
    monkeypatch.setattr(base, "PAGE", 2)
    await people(node, "1", "3", "5", "7", "9")
    await people(other, "2", "3", "6", "7", "8")
    viewer = await staff("connecteduser", "view_connecteduser")
    seen, query = [], ""
    for _ in range(4):
        page = await viewer.get(query)
        seen += rows(page)
        query = "?" + page.context["following"]
    assert query == "?"
    assert seen == [("1", 1), ("2", 1), ("3", 2), ("5", 1), ("6", 1), ("7", 2), ("8", 1), ("9", 1)]
    assert [row["user"] for row in (await sync_to_async(users)(text="7")).rows] == ["7"]


async def test_somebody_is_found_by_name_or_id(node: Node) -> None:
    """A whole name, or the beginning of an id."""
    viewer = await staff("connecteduser", "view_connecteduser")
    ann = await sync_to_async(User.objects.create_user)("ann")
    await people(node, str(ann.pk), f"{ann.pk}0", "other")
    assert rows(await viewer.get("?q=ann")) == [(str(ann.pk), 1)]
    assert rows(await viewer.get(f"?q={ann.pk}")) == [(str(ann.pk), 1), (f"{ann.pk}0", 1)]
    await sync_to_async(User.objects.create_user)("bob")
    assert rows(await viewer.get("?q=bob")) == []


async def test_all_connections_of_a_user_are_ended_told_and_kept_out(node: Node, other: Node) -> None:
    """On every instance; nobody else is disturbed, and the log has each."""
    here, neighbour = await people(node, "1", "2")
    (there,) = await people(other, "1")
    boss = await staff("connecteduser", "control_connecteduser")
    assert b"Sent to 2 connections." in (await boss.post(action="message", selected="1", data='"hi"')).content
    for peer in (here, there):
        assert {"push": {"message": {"data": "hi"}}} in peer.socket.lines
    assert b"2 connections ended." in (await boss.post(action="disconnect", selected="1")).content
    assert {await here.end(), await there.end()} == {(3503, "force disconnect")}
    await sync_to_async(boss.allow)("view_connecteduser", "control_block")
    page = await boss.post(action="block", selected=["1", "2"], duration="3600")
    assert b"2 blocked, 1 connection ended." in page.content
    assert (await neighbour.end())[0] == 3507
    assert await logged() == [
        ("sent id 1 a message (2 connections)", 'sent id 1 a message (2 connections): "hi"'),
        *[("disconnected id 1 (2 connections)",) * 2],
        *[("blocked id 1 for 1 hour (0 connections)",) * 2],
        *[("blocked id 2 for 1 hour (1 connection)",) * 2],
    ]
