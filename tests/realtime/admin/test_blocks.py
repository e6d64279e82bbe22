"""Blocks in the admin: the list, one more, and one less."""

import html

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from flotilla import ablock
from flotilla.realtime.admin import base
from flotilla.realtime.node.node import Node
from tests.realtime.admin.staff import logged, people, staff

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


async def test_somebody_is_blocked_listed_and_unblocked(node: Node) -> None:
    """Who need not be connected; with who did it, until when, and why."""
    await people(node, "1")
    boss = await staff("block", "control_block")
    wanted = {"action": "block", "kind": "address", "duration": "86400", "note": "<scan>"}
    assert b"Say whom" in (await boss.post(**wanted)).content
    assert b"1 blocked, 0 connections ended." in (await boss.post(**wanted, whom="2001:db8::7")).content
    assert (
        b"1 blocked, 1 connection ended."
        in (await boss.post(action="block", kind="user", whom="id:1", duration="", seconds="60")).content
    )
    page = await boss.get()
    user, address = page.context["page"].rows
    assert (user["who"], user["by"], user["note"]) == ("u:1", "staff", "")
    assert (address["name"], address["note"], address["is_address"]) == ("2001:db8::/64", "<scan>", True)
    assert 50 < user["left"] <= 60 < 86_000 < address["left"] <= 86_400
    assert b"&lt;scan&gt;" in page.content
    for query, found in (("?q=1", ["u:1"]), ("?q=2001:db8::1", ["a:2001:db8::/64"]), ("?q=2", [])):
        assert [row["who"] for row in (await boss.get(query)).context["page"].rows] == found
    assert b"2 unblocked." in (await boss.post(action="unblock", selected=[user["who"], address["who"]])).content
    assert b"0 unblocked." in (await boss.post(action="unblock", selected=user["who"])).content
    assert not (await boss.get()).context["page"].rows
    await people(node, "1")
    assert await logged() == [
        ("blocked 2001:db8::/64 for 1 day (0 connections)", "blocked 2001:db8::/64 for 1 day (0 connections): <scan>"),
        *[("blocked id 1 for 1 minute (1 connection)",) * 2],
        *[("unblocked id 1",) * 2],
        *[("unblocked 2001:db8::/64",) * 2],
    ]


async def test_pages_hold_every_block_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that end first before others; a cursor that is none begins anew."""
    monkeypatch.setattr(base, "PAGE", 3)
    for number in range(7):
        await ablock(str(number), seconds=100 + number)
    viewer = await staff("block", "view_block")
    seen, query = [], ""
    for _ in range(3):
        page = await viewer.get(query)
        assert page.context["page"].total == 7
        seen += [row["name"] for row in page.context["page"].rows]
        query = "?" + page.context["following"]
    assert query == "?"
    assert seen == [str(number) for number in range(7)]
    assert (await viewer.get("?after=x")).context["page"].rows[0]["name"] == "0"


async def test_a_selected_row_that_is_nothing_is_said(node: Node) -> None:
    """Forged, for no page gives it."""
    boss = await staff("block", "control_block")
    page = await boss.post(action="unblock", selected=["", "x:", "u:"])
    assert page.status_code == 200
    assert b"Say whom to block" in page.content
    page = await boss.post(action="block", kind="user", whom="a\0b", duration="600")
    assert b"A text has no NUL characters" in page.content
    assert b"Select at least one row" in (await boss.post(action="unblock", selected="u:a\0b")).content
    await sync_to_async(boss.allow)("view_block")
    assert (await boss.post(action="unblock", selected="u:1")).status_code == 403


async def test_who_can_be_nobody_is_said_when_searched_for(node: Node) -> None:
    """An address that is none, and a name that nobody has; who is known and not blocked is an empty list."""
    ann = await sync_to_async(User.objects.create_user)("ann")
    viewer = await staff("block", "view_block")
    for query in ("10.0.0.300", "nobody"):
        text = html.unescape((await viewer.get(f"?q={query}")).content.decode())
        assert f"There is no user '{query}'" in text, query
        assert f"'{query}' is not an address" in text, query
    for query in ("ann", str(ann.pk), "id:customer-17", "192.0.2.7", "2001:db8::7"):
        assert b"errornote" not in (await viewer.get(f"?q={query}")).content, query
