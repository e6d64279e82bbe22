"""Connections in the admin: who may see and end them, in pages, and what the log says afterwards."""

import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client

from realtime import admin as realtime_admin
from realtime import make_connection_token
from realtime.api.looking import connections
from realtime.engine.node import Node
from store.shards import reset_store
from tests.realtime.session.nodes import configured, node
from tests.realtime.session.peers import Peer
from tests.store.fixtures import redis_process, redis_url, shared_redis
from tests.store.redis_process import until

__all__ = ["configured", "node", "redis_process", "redis_url", "shared_redis"]
pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

URL = "/admin/realtime/connection/"
ROOM = "open:a"


class Staff:
    """A member of the staff with permissions, at the admin."""

    def __init__(self, *permissions: str) -> None:
        # The test runner empties the tables, with them the permissions that migrations made.
        call_command("migrate", verbosity=0)
        self.user = User.objects.create_user("staff", is_staff=True)
        self.user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        assert self.user.user_permissions.count() == len(permissions)
        self._client = Client()
        self._client.force_login(self.user)

    async def get(self, query: str = "") -> Any:
        return await sync_to_async(self._client.get)(URL + query)

    async def post(self, query: str = "", **fields: Any) -> Any:
        return await sync_to_async(self._client.post)(URL + query, fields, follow=True)


async def staff(*permissions: str) -> Staff:
    return await sync_to_async(Staff)(*permissions)


async def people(node: Node, *users: str) -> list[Peer]:
    """Connected users, in a room."""
    peers = [Peer(node) for _ in users]
    for peer, user in zip(peers, users, strict=True):
        await peer.connect(token=make_connection_token(user), name="app")
        await peer.subscribe(ROOM)
    await until(lambda: node.heartbeat.alive and node.presence.alive)
    return peers


def rows(response: Any) -> list[str]:
    """The users in the page, in its order."""
    return [row["user"] for row in response.context["page"].rows]


class TestWhoMay:
    async def test_others_see_nothing_and_end_nobody(self, node: Node) -> None:
        """Staff without the permissions; with that to see alone, nobody can be ended."""
        (peer,) = await people(node, "7")
        stranger = await staff()
        assert (await stranger.get()).status_code == 403
        assert (await stranger.post(action="disconnect", client=peer.session.client)).status_code == 403
        await sync_to_async(stranger.user.user_permissions.set)(
            await sync_to_async(list)(Permission.objects.filter(codename="view_connection"))
        )
        page = await stranger.get()
        assert rows(page) == ["7"]
        assert b'name="action"' not in page.content
        assert (await stranger.post(action="disconnect", client=peer.session.client)).status_code == 403
        assert peer.socket.closed is None

    async def test_the_index_shows_it_to_those_who_may(self, node: Node) -> None:
        """And nothing needs a table."""
        found = await staff("view_connection")
        index = await sync_to_async(found._client.get)("/admin/")
        assert URL.encode() in index.content
        await sync_to_async(call_command)("makemigrations", check=True, dry_run=True, verbosity=0)


class TestTheList:
    async def test_what_a_row_says(self, node: Node) -> None:
        """Escaped, whatever a client calls itself."""
        peer = Peer(node)
        await peer.connect(token=make_connection_token("<b>7</b>"), name="<script>")
        await peer.subscribe(ROOM)
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        text = (await (await staff("view_connection")).get()).content.decode()
        for said in ("&lt;b&gt;7&lt;/b&gt;", "&lt;script&gt;", "192.0.2.1", "unit-0", ROOM, peer.session.client):
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
            (f"?q={one.session.client}", ["u1"]),
            ("?q=app", ["u1", "u2", "v"]),
            ("?rows=1&user=v", ["v"]),
        ):
            assert sorted(rows(await viewer.get(query))) == users, query
        assert b"<html" not in (await viewer.get("?rows=1")).content

    async def test_pages_hold_everybody_once(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """In the order of the ids; the cursor goes on where a page ended, whoever came or went."""
        monkeypatch.setattr(realtime_admin, "PAGE", 3)
        await people(node, *(str(number) for number in range(8)))
        viewer = await staff("view_connection")
        seen, query = [], ""
        for _ in range(3):
            page = await viewer.get(query)
            assert page.context["page"].total == 8
            seen += [row["client"] for row in page.context["page"].rows]
            query = "?" + page.context["following"]
        assert query == "?"
        assert seen == sorted(node.sessions)

    async def test_an_instance_that_does_not_answer_and_a_redis_that_is_away_are_said(
        self, node: Node, configured: Any, tmp_path: Any
    ) -> None:
        """On the page."""
        await people(node, "7")
        viewer = await staff("view_connection")
        node.hub.on_control = None
        assert b"0 of 1 instances have answered" in (await viewer.get()).content
        configured.REDIS_URLS = [f"unix://{tmp_path}/nobody.sock"]
        reset_store()
        assert b"Redis does not answer" in (await viewer.get()).content


class TestActions:
    async def test_connections_are_ended_and_the_log_says_by_whom(self, node: Node) -> None:
        """Those selected alone."""
        one, two, three = await people(node, "1", "2", "3")
        boss = await staff("view_connection", "control_connection")
        clients = [one.session.client, two.session.client]
        page = await boss.post("?channel=" + ROOM, action="disconnect", client=clients)
        assert b"2 connections ended." in page.content
        assert {await one.end(), await two.end()} == {(3503, "force disconnect")}
        assert three.socket.closed is None
        entries = await sync_to_async(list)(LogEntry.objects.order_by("object_repr"))
        assert [entry.object_repr for entry in entries] == ["1 at 192.0.2.1", "2 at 192.0.2.1"]
        assert {(entry.user_id, entry.change_message) for entry in entries} == {(boss.user.pk, "Disconnected (3503).")}

    async def test_subscriptions_are_ended(self, node: Node) -> None:
        """The connection stays; a channel that cannot be is said; what hits nobody leaves no entry."""
        (peer,) = await people(node, "1")
        boss = await staff("control_connection")
        selected = {"action": "unsubscribe", "client": peer.session.client}
        assert b"Select connections" in (await boss.post(**selected)).content
        assert b"unknown channel" in (await boss.post(**selected, from_channel="nowhere:a")).content
        assert b"1 subscriptions ended." in (await boss.post(**selected, from_channel=ROOM)).content
        assert peer.pushes("unsubscribe", ROOM) == [{"code": 2000, "reason": "server unsubscribe"}]
        assert b"0 subscriptions ended." in (await boss.post(**selected, from_channel=ROOM)).content
        entries = await sync_to_async(list)(LogEntry.objects.values_list("change_message", flat=True))
        assert entries == [f"Unsubscribed from {ROOM} (2000)."]


async def test_looking_from_python(node: Node) -> None:
    """What the page stands on."""
    one, *_ = await people(node, "1", "1", "2")
    page = await sync_to_async(connections)("1", limit=1)
    assert (page.total, len(page.rows), page.complete) == (2, 1, True)
    assert page.next == page.rows[0]["client"]
    (row,) = (await sync_to_async(connections)(client=one.session.client)).rows
    assert 0 <= time.time() - row["since"] < 60
    assert (row["user"], row["via"], row["channels"], row["num_channels"]) == ("1", "token", [ROOM], 1)
