"""Dangerous actions ask first: the page lists whom they hit and changes nothing; the yes does what was asked."""

import html
import re
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from flotilla import apublish
from flotilla.realtime.admin import affected
from flotilla.realtime.node.node import Node
from tests.realtime.admin.staff import ROOM, logged, people, staff

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


def hits(page: Any) -> affected.Affected:
    """What the page asks about: in a few words, and line by line."""
    assert "Are you sure?" in page.content.decode()
    found: affected.Affected = page.context["affected"]
    return found


def posted(page: Any) -> dict[str, list[str]]:
    """What the form of the page sends, as a browser without JavaScript reads it."""
    inputs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.content.decode())
    form: dict[str, list[str]] = {}
    for name, value in inputs:
        form.setdefault(name, []).append(html.unescape(value))
    return form


async def test_nothing_happens_before_the_yes(node: Node, other: Node) -> None:
    """The page's own form is that yes, and repeats everything that was typed and selected."""
    ann = await sync_to_async(User.objects.create_user)("ann")
    here, neighbour = await people(node, str(ann.pk), "somebody")
    (there,) = await people(other, str(ann.pk))
    boss = await staff("connecteduser", "view_connecteduser", "control_connecteduser", "control_block")
    page = await boss.ask(action="block", selected=[str(ann.pk), "other"], duration="", seconds="90", note='<so "so">')
    assert hits(page) == ("2 connections of 2 users", [f"ann (id {ann.pk}): 2 connections", "id other: 0 connections"])
    assert "&lt;so &quot;so&quot;&gt;" in page.content.decode()
    assert [peer.socket.closed for peer in (here, there, neighbour)] == [None, None, None]
    assert not await logged()
    done = await boss.ask(**posted(page))
    assert b"2 blocked, 2 connections ended." in done.content
    assert neighbour.socket.closed is None
    assert [about for about, _ in await logged()] == [
        "blocked ann for 90 seconds (2 connections)",
        "blocked id other for 90 seconds (0 connections)",
    ]


async def test_connections_and_subscriptions_are_listed(node: Node) -> None:
    """Those that there are, and of a channel those that are in it; whose, and from where."""
    one, two = await people(node, "one", "two")
    boss = await staff("connection", "control_connection", "control_block")
    selected = [one.client.id, two.client.id, "gone"]
    page = await boss.ask(action="disconnect", selected=selected)
    assert hits(page) == ("2 connections", ["id one at 192.0.2.1, client app", "id two at 192.0.2.1, client app"])
    await one.subscribe("plain:x")
    page = await boss.ask(action="unsubscribe", channel="plain:x", selected=selected)
    assert hits(page) == ("1 subscription to plain:x", ["id one at 192.0.2.1, client app"])
    page = await boss.ask(action="unsubscribe", channel="plain:{0}", selected=selected)
    assert hits(page) == ("0 subscriptions to plain:{0}", [])
    assert b"0 subscriptions ended." in (await boss.ask(**posted(page))).content
    page = await boss.ask(action="block_address", selected=selected, duration="600")
    words, lines = hits(page)
    assert words == "2 connections from 1 address"
    assert lines[0] == "192.0.2.1: 2 connections"
    assert one.socket.closed is None


async def test_an_instance_and_a_history_are_listed(node: Node) -> None:
    await people(node, "1", "1", "2")
    await node.presence._renewal.renew()
    boss = await staff("instance", "control_instance")
    words, (line,) = hits(await boss.ask(action="drain", selected=node.presence.incarnation))
    assert words == "1 instance with 3 connections"
    assert line.endswith(": 3 connections of 2 users")
    assert not node.draining
    await apublish(ROOM, 1)
    boss.page = "channel"
    await sync_to_async(boss.allow)("control_channel")
    for query, selected in (("", {"selected": ROOM}), ("open_3Aa/change/", {})):
        page = await boss.ask(query, action="clear", **selected)
        assert hits(page) == ("1 publication in 1 channel", [f"{ROOM}: 1 publication"])
    assert b"History of 1 channel cleared." in (await boss.ask("open_3Aa/change/", **posted(page))).content


async def test_an_address_is_listed_as_it_is_counted(node: Node) -> None:
    """Not its neighbours that begin alike; of more than a page it is said that there are more."""
    peers = await people(node, "1", "2", "3", "4")
    for peer, address in zip(peers, ("2001:db8::1", "2001:db8::ffff", "2001:db8:1::1", "192.0.2.10"), strict=True):
        peer.client.address = address
    found = await sync_to_async(affected.by_address)(["2001:db8::/64", "192.0.2.1"])
    assert found.words == "2 connections from 2 addresses"
    assert found.lines[0] == "2001:db8::/64: 2 connections"
    assert found.lines[-1] == "192.0.2.1: 0 connections"
    affected_page = await sync_to_async(_two_at_a_time)()  # of three that begin so, of which it counts two
    assert affected_page.words in ("at least 1 connection from 1 address", "at least 2 connections from 1 address")


def _two_at_a_time() -> affected.Affected:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(affected, "MAX_LISTED", 2)
        return affected.by_address(["2001:db8::/64"])


async def test_what_is_wrong_is_said_before_anything_is_asked(node: Node) -> None:
    """Beside the input, with everything that was typed and ticked still there."""
    boss = await staff("block", "control_block")
    for kind, whom, says in (
        ("user", "nobody", "There is no user &#x27;nobody&#x27;"),
        ("address", "10.0.0.300", "&#x27;10.0.0.300&#x27; is not an address"),
        ("address", "10.0.0.0/8", "addresses are counted one by one"),
    ):
        page = await boss.ask(action="block", kind=kind, whom=whom, duration="", seconds="0", note="why")
        text = page.content.decode()
        assert f'<span class="wrong" id="wrong_whom">{says}' in text or says in text.split('id="wrong_whom">')[1], whom
        assert 'id="wrong_seconds">Say for how many seconds' in text
        for kept in (f'value="{whom}"', 'value="why"', "Are you sure?"):
            assert (kept in text) == (kept != "Are you sure?"), kept
    boss.page = "connection"
    (peer,) = await people(node, "1")
    await sync_to_async(boss.allow)("control_connection")
    page = await boss.ask(action="unsubscribe", channel="", selected=peer.client.id)
    assert f'value="{peer.client.id}" checked' in page.content.decode()


async def test_a_name_and_any_natural_form_of_it_is_taken(node: Node) -> None:
    """As in commands."""
    ann = await sync_to_async(User.objects.create_user)("ann")
    boss = await staff("block", "control_block")
    for whom in ("ann", "name:ann", str(ann.pk), f"pk:{ann.pk}", f"id:{ann.pk}"):
        page = await boss.ask(action="block", kind="user", whom=whom, duration="600")
        assert hits(page).lines == [f"ann (id {ann.pk}): 0 connections"], whom


async def test_the_yes_alone_needs_the_right(node: Node) -> None:
    """A forged confirmation is refused as the form is."""
    (peer,) = await people(node, "1")
    viewer = await staff("connection", "view_connection")
    forged = {"action": "disconnect", "selected": peer.client.id, "confirmed": "yes"}
    assert (await viewer.ask(**forged)).status_code == 403
    assert peer.socket.closed is None


async def test_an_instance_that_does_not_answer_is_waited_for_once(node: Node) -> None:
    """Not for each of the selected; the page comes all the same."""
    ids = [peer.client.id for peer in await people(node, *"123456")]
    asked: list[float] = []

    def ask(within: float) -> Any:
        asked.append(within)
        return affected.connections(client=ids[0], limit=1, within=within)

    node.hub.on_control = None
    await sync_to_async(affected.rows_of)([ask, ask, ask])
    assert asked == [affected.ASK_WITHIN, affected.HURRIED, affected.HURRIED]
