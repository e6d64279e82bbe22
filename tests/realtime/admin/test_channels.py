"""Channels in the admin: over all instances, what Redis keeps of them, publishing and clearing, one channel's page."""

import html
import re
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from flotilla import apublish
from flotilla.realtime.admin import base
from flotilla.realtime.api.inspection import channels
from flotilla.realtime.node.node import Node
from tests.realtime.admin.staff import ROOM, logged, people, staff
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


def rows(response: Any) -> list[tuple[str, int]]:
    return [(row["channel"], row["subscribers"]) for row in response.context["page"].rows]


class TestTheList:
    async def test_what_a_row_says(self, node: Node, other: Node) -> None:
        """Subscribers and users over all instances, and where the stream stands."""
        await people(node, "1", "1", "2")
        await people(other, "2")
        await people(node, "1", room="plain:a")
        for number in range(12):
            await apublish(ROOM, number)
        page = await (await staff("channel", "view_channel")).get()
        room, plain = page.context["page"].rows
        assert (room["channel"], room["subscribers"], room["users"]) == (ROOM, 4, 2)
        assert (room["top"], room["stored"]) == (12, 10)
        assert abs(time.time() - room["published_at"].timestamp()) < 30
        assert (plain["subscribers"], plain["users"], plain["history"], plain["published_at"]) == (1, None, False, None)

    async def test_the_last_publication_of_a_channel_without_history(self, node: Node) -> None:
        """Is known from the instance it came to."""
        (peer,) = await people(node, "1", room="plain:a")
        await apublish("plain:a", 1)
        await until(lambda: peer.data("plain:a"))
        (row,) = (await sync_to_async(channels)()).rows
        assert abs(time.time() - row["published_at"]) < 30

    async def test_the_last_publication_of_a_channel_that_nobody_hears(self, node: Node) -> None:
        """Is known from the life that is left of its history; not after that was cleared."""
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        await apublish("wish:quiet", 1)
        (row,) = (await sync_to_async(channels)(text="wish:quiet")).rows
        assert abs(time.time() - row["published_at"]) < 30
        await node.broker.forget("wish:quiet")
        (row,) = (await sync_to_async(channels)(text="wish:quiet")).rows
        assert (row["top"], row["stored"], row["published_at"]) == (1, 0, 0.0)

    async def test_filters(self, node: Node) -> None:
        """By the beginning or by a pattern; a whole name finds a channel that nobody is in, if there is anything of
        it, and looking makes no stream."""
        for room in ("open:a1", "open:a2", "open:b", "plain:a1"):
            await people(node, "1", room=room)
        await apublish("wish:quiet", 1)
        viewer = await staff("channel", "view_channel")
        for query, found in (
            ("?q=open:a", [("open:a1", 1), ("open:a2", 1)]),
            ("?q=*:a1", [("open:a1", 1), ("plain:a1", 1)]),
            ("?q=open:[ab]?", [("open:a1", 1), ("open:a2", 1)]),
            ("?q=wish:quiet", [("wish:quiet", 0)]),
            ("?q=wish:never", []),
            ("?q=wish:never", []),
            ("?q=[", []),
        ):
            assert rows(await viewer.get(query)) == found, query

    async def test_pages_hold_every_channel_once(
        self, node: Node, other: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In the order of their names, with the subscribers of all instances."""
        monkeypatch.setattr(base, "PAGE", 2)
        for room in ("open:a", "open:c", "open:d"):
            await people(node, "1", room=room)
        for room in ("open:b", "open:c", "open:e"):
            await people(other, "1", room=room)
        viewer = await staff("channel", "view_channel")
        seen, query = [], ""
        for _ in range(3):
            page = await viewer.get(query)
            seen += rows(page)
            query = "?" + page.context["following"]
        assert query == "?"
        assert seen == [("open:a", 1), ("open:b", 1), ("open:c", 2), ("open:d", 1), ("open:e", 1)]


class TestActions:
    async def test_publishing(self, node: Node) -> None:
        """From the server itself, to every selected channel or to none."""
        (peer,) = await people(node, "1")
        boss = await staff("channel", "control_channel")
        assert b"This is not JSON" in (await boss.post(action="publish", selected=ROOM, data="hello")).content
        nowhere = await boss.post(action="publish", selected=[ROOM, "nowhere:a"], data="1")
        assert b"unknown channel" in nowhere.content
        deep = "[" * 300 + "]" * 300
        assert b"cannot be done" in (await boss.post(action="publish", selected=ROOM, data=deep)).content
        done = await boss.post(action="publish", selected=[ROOM, "plain:a"], data='{"text": "hi"}')
        assert b"Published to 2 channels." in done.content
        await until(lambda: peer.data(ROOM))
        assert peer.data(ROOM) == [{"text": "hi"}]
        assert await logged() == [
            (f"published to {name}", f'published to {name}: {{"text":"hi"}}') for name in (ROOM, "plain:a")
        ]

    async def test_clearing_history(self, node: Node) -> None:
        """The position stays; a channel that keeps none is said."""
        await people(node, "1")
        await apublish(ROOM, 1)
        boss = await staff("channel", "control_channel")
        refused = await boss.post(action="clear", selected=[ROOM, "plain:a"])
        assert b"plain:a keeps no history" in refused.content
        assert b"History of 1 channel cleared." in (await boss.post(action="clear", selected=ROOM)).content
        (row,) = (await boss.get()).context["page"].rows
        assert (row["top"], row["stored"]) == (1, 0)
        assert await logged() == [("cleared the history of open:a",) * 2]


class TestOneChannel:
    async def test_its_page(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who is in it, what came last, escaped; and the actions, about it alone."""
        await people(node, "1", "<i>2</i>")
        await apublish(ROOM, {"text": "<b>bold</b>"})
        boss = await staff("channel", "control_channel")
        text = (await boss.get("open_3Aa/change/")).content.decode()
        for said in ("2 connections", "2 users", "&lt;i&gt;2&lt;/i&gt;", "&lt;b&gt;bold&lt;/b&gt;", "the server"):
            assert said in text, said
        assert b"Published to 1 channel." in (await boss.post("open_3Aa/change/", action="publish", data="2")).content
        assert b"<html" not in (await boss.get("open_3Aa/change/?rows=1")).content
        assert await logged() == [("published to open:a", "published to open:a: 2")]

    async def test_looking_makes_and_holds_nothing(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stream that nobody has used is not begun by it; publications that are too large stay where they are."""
        viewer = await staff("channel", "view_channel")
        await until(lambda: node.heartbeat.alive and node.presence.alive)
        assert b"None." in (await viewer.get("wish_3Anew/change/")).content
        assert (await sync_to_async(channels)(text="wish:new")).rows == []
        monkeypatch.setattr("flotilla.realtime.admin.channels.MAX_BYTES", 100)
        for _ in range(2):
            await apublish("wish:new", "x" * 200)
        page = (await viewer.get("wish_3Anew/change/")).content
        assert b"Too large to be shown." in page
        assert b"xxx" not in page

    async def test_those_who_may_only_look(self, node: Node) -> None:
        """Have no actions there either."""
        await people(node, "1")
        viewer = await staff("channel", "view_channel")
        page = await viewer.get("open_3Aa/change/")
        assert b'name="action"' not in page.content
        assert (await viewer.post("open_3Aa/change/", action="clear")).status_code == 403
        await sync_to_async(viewer.allow)()
        assert (await viewer.get("open_3Aa/change/")).status_code == 403

    async def test_whatever_its_name(self, node: Node) -> None:
        """The list leads to it, and nothing of the name is markup."""
        room = "open:<i>\"'&/?#%_41[*];:\\../ x"
        await people(node, "1", room=room)
        viewer = await staff("channel", "view_channel")
        text = (await viewer.get()).content.decode()
        assert "<i>" not in text
        (link,) = re.findall(r'href="/admin/flotilla_realtime/channel/([^"]+/change/)"', text)
        page = await viewer.get(html.unescape(link))
        assert page.context["title"] == room
        assert page.context["facts"]["subscribers"] == 1
        assert "<i>" not in page.content.decode()

    async def test_a_channel_that_cannot_be(self, node: Node) -> None:
        """Is said, not an error of ours; nor is a cursor that is none."""
        viewer = await staff("channel", "view_channel")
        for name in ("nowhere_3Aa", "%00", "é", "x" * 300):
            page = await viewer.get(f"{name}/change/")
            assert page.status_code == 200, name
            assert b"This cannot be a channel" in page.content
        assert (await viewer.get("open_3Aa/change/?after=x")).status_code == 200

    async def test_everybody_in_it_is_in_one_of_its_pages(self, node: Node) -> None:
        """A large hash in Redis is read in pieces."""
        for number in range(600):
            await node.presence.add(f"c:{ROOM}", f"client-{number}", str(number), b"{}")
        viewer = await staff("channel", "view_channel")
        seen: set[str] = set()
        query, pages = "", 0
        while True:
            page = await viewer.get(f"open_3Aa/change/{query}")
            seen |= {one["client"] for one in page.context["people"]}
            assert len(page.context["people"]) < 200
            pages += 1
            if not page.context["following"]:
                break
            query = f"?after={page.context['following']}"
        assert len(seen) == 600
        assert pages > 5
