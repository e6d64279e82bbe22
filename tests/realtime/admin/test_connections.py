"""Connections in the admin: in pages, with filters; what is done to them, and what the log says afterwards."""

import html
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User

from flotilla import make_connection_token
from flotilla.realtime.admin import base
from flotilla.realtime.api.inspection import connections
from flotilla.realtime.node.node import Node
from flotilla.store.shards import reset_store
from tests.realtime.admin.staff import ROOM, Staff, logged, people
from tests.realtime.admin.staff import staff as staff_at
from tests.realtime.client.peers import Peer
from tests.store.places import nobody
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


async def staff(*permissions: str) -> Staff:
    return await staff_at("connection", *permissions)


def rows(response: Any) -> list[str]:
    """The users in the page, in its order."""
    return [row["user"] for row in response.context["page"].rows]


class TestTheList:
    async def test_what_a_row_says(self, node: Node) -> None:
        """Escaped, whatever a client calls itself."""
        peer = Peer(node)
        await peer.connect(token=make_connection_token("<b>7</b>"), name="<script>")
        await peer.subscribe(ROOM)
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        text = (await (await staff("view_connection")).get()).content.decode()
        for said in ("&lt;b&gt;7&lt;/b&gt;", "&lt;script&gt;", "192.0.2.1", "unit-0", ROOM, peer.client.id):
            assert said in text, said
        assert "<b>7</b>" not in text

    async def test_filters_and_search(self, node: Node) -> None:
        """By user, channel, and the beginning of what a row says; the live rows are filtered alike."""
        one, *_ = await people(node, "u1", "u2", "v")  # letters that begin no id of a connection
        await one.subscribe("plain:b")
        viewer = await staff("view_connection")
        for query, users in (
            ("?user=v", ["v"]),
            ("?user=u", []),
            ("?channel=plain:b", ["u1"]),
            ("?q=u", ["u1", "u2"]),
            ("?q=192.0.2", ["u1", "u2", "v"]),
            (f"?q={one.client.id}", ["u1"]),
            ("?q=app", ["u1", "u2", "v"]),
            ("?rows=1&user=v", ["v"]),
        ):
            assert sorted(rows(await viewer.get(query))) == users, query
        assert b"<html" not in (await viewer.get("?rows=1")).content

    async def test_a_user_whom_nobody_knows_is_said(self, node: Node) -> None:
        """Not an empty list, which would say that they are not connected. An id that is connected needs no name."""
        await people(node, "customer-17")
        await sync_to_async(User.objects.create_user)("ann")
        viewer = await staff("view_connection")
        assert rows(await viewer.get("?user=customer-17")) == ["customer-17"]
        for query, says in (("nobody", True), ("pk:999999", True), ("ann", False), ("id:customer-18", False)):
            text = html.unescape((await viewer.get(f"?user={query}")).content.decode())
            assert ("There is no user " in text) == says, query

    async def test_pages_hold_everybody_once(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """In the order of the ids; the cursor goes on where a page ended, whoever came or went."""
        monkeypatch.setattr(base, "PAGE", 3)
        await people(node, *(str(number) for number in range(8)))
        viewer = await staff("view_connection")
        seen, query = [], ""
        for _ in range(3):
            page = await viewer.get(query)
            assert page.context["page"].total == 8
            seen += [row["client"] for row in page.context["page"].rows]
            query = "?" + page.context["following"]
        assert query == "?"
        assert seen == sorted(node.clients)

    async def test_an_instance_that_does_not_answer_and_a_redis_that_is_away_are_said(
        self, node: Node, configured: Any, tmp_path: Any
    ) -> None:
        """On the page."""
        await people(node, "7")
        viewer = await staff("view_connection")
        node.hub.on_control = None
        assert b"0 of 1 instances have answered" in (await viewer.get()).content
        configured.REDIS_URLS = [nobody(tmp_path)]
        reset_store()
        assert b"Redis does not answer" in (await viewer.get()).content


class TestActions:
    async def test_connections_are_ended_and_the_log_says_by_whom(self, node: Node) -> None:
        """Those selected alone."""
        one, two, three = await people(node, "1", "2", "3")
        boss = await staff("view_connection", "control_connection")
        clients = [one.client.id, two.client.id]
        page = await boss.post("?channel=" + ROOM, action="disconnect", selected=clients)
        assert b"2 connections ended." in page.content
        assert {await one.end(), await two.end()} == {(3503, "force disconnect")}
        assert three.socket.closed is None
        entries = await sync_to_async(list)(LogEntry.objects.order_by("object_repr"))
        assert [entry.object_repr for entry in entries] == [
            "disconnected id 1 at 192.0.2.1",
            "disconnected id 2 at 192.0.2.1",
        ]
        assert {entry.user_id for entry in entries} == {boss.user.pk}

    async def test_subscriptions_are_ended(self, node: Node) -> None:
        """The connection stays; a channel that cannot be is said; what hits nobody leaves no entry."""
        (peer,) = await people(node, "1")
        boss = await staff("control_connection")
        selected = {"action": "unsubscribe", "selected": peer.client.id}
        assert b"Say which channel." in (await boss.post(**selected)).content
        assert b"unknown channel" in (await boss.post(**selected, channel="nowhere:a")).content
        assert b"1 subscription ended." in (await boss.post(**selected, channel=ROOM)).content
        assert peer.pushes("unsubscribe", ROOM) == [{"code": 2000, "reason": "server unsubscribe"}]
        assert b"0 subscriptions ended." in (await boss.post(**selected, channel=ROOM)).content
        entries = await sync_to_async(list)(LogEntry.objects.values_list("change_message", flat=True))
        assert entries == [f"unsubscribed id 1 at 192.0.2.1 from {ROOM}"]

    async def test_a_message_goes_to_those_selected(self, node: Node) -> None:
        """As the protocol's push of that name; what is no JSON is sent to nobody, and can be mended in the form."""
        one, two = await people(node, "1", "2")
        boss = await staff("control_connection")
        wanted = {"action": "message", "selected": one.client.id}
        page = await boss.post(**wanted, data="{hello")
        assert b"This is not JSON" in page.content
        assert b"{hello</textarea>" in page.content
        assert b"Sent to 1 connection." in (await boss.post(**wanted, data='{"text":\n "hello"}')).content
        assert {"push": {"message": {"data": {"text": "hello"}}}} in one.socket.lines
        assert not any("message" in line.get("push", {}) for line in two.socket.lines)
        assert await logged() == [
            ("sent id 1 at 192.0.2.1 a message", 'sent id 1 at 192.0.2.1 a message: {"text":"hello"}')
        ]

    async def test_the_user_or_the_address_of_a_connection_is_blocked(self, node: Node) -> None:
        """All of theirs end; who may end connections may not block for that."""
        one, same, two = await people(node, "1", "1", "2")
        boss = await staff("control_connection")
        wanted = {"action": "block_user", "selected": one.client.id, "duration": "600"}
        assert (await boss.post(**wanted)).status_code == 403
        await sync_to_async(boss.allow)("view_connection", "control_block")
        assert b"1 blocked, 2 connections ended." in (await boss.post(**wanted, note="spam")).content
        for peer in (one, same):
            code, reason = await peer.end()
            assert code == 3507
            assert reason.startswith("blocked until 20")
        assert two.socket.closed is None
        wanted = {"action": "block_address", "selected": two.client.id, "duration": "", "seconds": "30"}
        assert b"1 blocked, 1 connection ended." in (await boss.post(**wanted)).content
        assert await logged() == [
            ("blocked id 1 for 10 minutes (2 connections)", "blocked id 1 for 10 minutes (2 connections): spam"),
            ("blocked 192.0.2.1 for 30 seconds (1 connection)",) * 2,
        ]

    async def test_a_visitor_has_no_user_to_block(self, node: Node) -> None:
        """This is said; so is a time that is none."""
        visitor = Peer(node)
        await visitor.connect()
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        boss = await staff("view_connection", "control_block")
        wanted = {"action": "block_user", "selected": visitor.client.id}
        assert b"A visitor has no user to block" in (await boss.post(**wanted, duration="600")).content
        for seconds in ("", "x", "nan", "-1", "1e99"):
            page = await boss.post(**wanted, duration="", seconds=seconds)
            assert b"Say for how many seconds" in page.content, seconds
        assert visitor.socket.closed is None


async def test_users_of_django_are_shown_by_name(node: Node) -> None:
    """Beside their id."""
    viewer = await staff("view_connection")
    ann = await sync_to_async(User.objects.create_user)("ann")
    await people(node, str(ann.pk), "no-user")
    text = (await viewer.get()).content.decode()
    assert f'">ann</a> <span class="quiet">{ann.pk}</span>' in text
    assert '">no-user</a>' in text


async def test_looking_from_python(node: Node) -> None:
    """What the page stands on."""
    one, *_ = await people(node, "1", "1", "2")
    page = await sync_to_async(connections)("1", limit=1)
    assert (page.total, len(page.rows), page.complete) == (2, 1, True)
    assert page.next == page.rows[0]["client"]
    (row,) = (await sync_to_async(connections)(client=one.client.id)).rows
    assert 0 <= time.time() - row["since"] < 60
    assert (row["user"], row["via"], row["channels"], row["num_channels"]) == ("1", "token", [ROOM], 1)
