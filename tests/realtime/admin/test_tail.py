"""Following live from the admin: who may, what is masked, what the log says, tickets that are somebody else's, streams
and asking again and again."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core import signing
from django.test import AsyncClient, Client

from flotilla.realtime.admin import tail
from flotilla.realtime.node.node import Node
from tests.realtime.admin.staff import ROOM, Staff, people, staff
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

CHANNEL = "/admin/flotilla_realtime/channel/open_3Aa/tail/"


async def begin(viewer: Staff, address: str = CHANNEL, **fields: str) -> Any:
    return await sync_to_async(viewer._client.post)(address, fields)


async def collect(client: Client, ticket: str, address: str = CHANNEL) -> Any:
    return await sync_to_async(client.get)(f"{address}?ticket={quote(ticket)}")


class TestWhoMay:
    async def test_seeing_and_controlling_are_not_enough(self, node: Node) -> None:
        """It has a permission of its own, for each kind of thing; nothing is followed or logged without."""
        (peer,) = await people(node, "7")
        pages = {"channel": "open_3Aa", "connecteduser": "7", "connection": peer.client.id}
        for kind, name in pages.items():
            viewer = await sync_to_async(_another)(kind, f"view_{kind}", f"control_{kind}")
            address = f"/admin/flotilla_realtime/{kind}/{name}/tail/"
            page = await viewer.get(f"{name}/change/")
            assert b'id="tail"' not in page.content
            assert (await begin(viewer, address)).status_code == 403
            assert (await collect(viewer._client, "x", address)).status_code == 403
            assert node.taps is None
            assert not await sync_to_async(LogEntry.objects.count)()
            await sync_to_async(viewer.allow)(f"view_{kind}", f"tail_{kind}")
            page = await viewer.get(f"{name}/change/")
            assert b'id="tail"' in page.content
            assert b'name="payloads"' not in page.content
            assert (await begin(viewer, address)).json()["following"] == 1
            entry = await sync_to_async(LogEntry.objects.get)()
            assert entry.user_id == viewer.user.pk
            assert entry.object_id in (ROOM, name)
            assert entry.change_message.endswith("live, payloads masked")
            await sync_to_async(entry.delete)()
            for id in list(node.tails._tails):
                await node.tails.end(id)

    async def test_payloads_need_a_right_and_a_wish(self, node: Node) -> None:
        """Without the right they are refused, without the wish they are masked; the log tells them apart."""
        (peer,) = await people(node, "7")
        viewer = await staff("channel", "view_channel", "tail_channel")
        assert (await begin(viewer, payloads="on")).status_code == 403
        await sync_to_async(viewer.allow)("view_channel", "tail_channel", "tail_payloads")
        for fields, data in (({}, None), ({"payloads": "on"}, '"told"')):
            ticket = (await begin(viewer, **fields)).json()["ticket"]
            await until(lambda: node.tails._bystander._mailbox)
            await peer.ask(publish={"channel": ROOM, "data": "told"})
            event = await _publication(viewer, ticket)
            assert (event.get("data"), event["size"], event["user"]) == (data, 6, "7")
            for id in list(node.tails._tails):
                await node.tails.end(id)
        entries = await sync_to_async(list)(LogEntry.objects.order_by("pk").values_list("change_message", flat=True))
        assert entries == [f"followed {ROOM} live, payloads masked", f"followed {ROOM} live, with payloads"]

    async def test_a_ticket_is_for_one_person_and_thing(self, node: Node) -> None:
        """Nor does one outlive the right, or is one made up."""
        await people(node, "7")
        viewer = await staff("channel", "tail_channel", "tail_payloads")
        ticket = (await begin(viewer, payloads="on")).json()["ticket"]
        assert (await collect(viewer._client, ticket)).status_code == 200
        eve = await sync_to_async(_eve)()
        assert (await collect(eve, ticket)).status_code == 403
        other = "/admin/flotilla_realtime/channel/open_3Ab/tail/"
        assert (await collect(viewer._client, ticket, other)).status_code == 403
        pk, *look = signing.loads(ticket, salt=tail.SALT)
        for made_up in (
            "",
            "\0",
            "a:b:c",
            ticket[:-1],
            signing.dumps([pk, *look]),
            signing.dumps([pk], salt=tail.SALT),
        ):
            assert (await collect(viewer._client, made_up)).status_code == 403, made_up
        over = signing.dumps([pk, *look[:-1], 1.0], salt=tail.SALT)
        assert (await collect(viewer._client, over)).status_code == 204
        await sync_to_async(viewer.allow)("tail_channel")
        assert (await collect(viewer._client, ticket)).status_code == 403

    async def test_nobody_is_made_to_look(self, node: Node) -> None:
        """It is begun by a form of ours alone, and nothing but GET and POST means anything."""
        viewer = await staff("channel", "tail_channel")
        strict = Client(enforce_csrf_checks=True)
        await sync_to_async(strict.force_login)(viewer.user)
        assert (await sync_to_async(strict.post)(CHANNEL)).status_code == 403
        assert (await sync_to_async(viewer._client.put)(CHANNEL)).status_code == 405
        assert node.taps is None

    async def test_names_that_are_none(self, node: Node) -> None:
        """Are not found, whatever they are made of."""
        viewer = await staff("channel", "tail_channel")
        for name in ("%00", "a%00b", "x" * 256):
            assert (await begin(viewer, f"/admin/flotilla_realtime/channel/{name}/tail/")).status_code == 404, name


class TestTheStream:
    async def test_events_come_as_they_happen_until_the_looker_is_gone(self, node: Node) -> None:
        """As server-sent events; then nothing is left."""
        (peer,) = await people(node, "7")
        viewer = await staff("connecteduser", "tail_connecteduser")
        client = AsyncClient()
        await client.aforce_login(viewer.user)
        address = "/admin/flotilla_realtime/connecteduser/7/tail/"
        said = (await client.post(address)).json()
        assert said["streams"]
        response = await client.get(f"{address}?ticket={quote(said['ticket'])}")
        assert response["Content-Type"] == "text/event-stream"
        assert "no-store" in response["Cache-Control"]
        parts = aiter(response)
        assert await anext(parts) == b"retry: 1000\n\n"
        await peer.ask(publish={"channel": ROOM, "data": "<b>"})
        seen: list[dict[str, Any]] = []
        while not {"command", "publication"} <= {event["kind"] for event in seen}:
            part = await asyncio.wait_for(anext(parts), 30)
            seen += json.loads(part.removeprefix(b"data: ")) if part.startswith(b"data: ") else []
        assert all("data" not in event for event in seen)
        assert node.taps is not None
        await parts.aclose()
        await until(lambda: node.taps is None)

    async def test_it_ends_when_the_right_is_taken_away(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """Within a moment, and says so."""
        monkeypatch.setattr(tail, "ASK_AGAIN_EVERY", 0.0)
        await people(node, "7")
        viewer = await staff("channel", "tail_channel")
        client = AsyncClient()
        await client.aforce_login(viewer.user)
        ticket = (await client.post(CHANNEL)).json()["ticket"]
        response = await client.get(f"{CHANNEL}?ticket={quote(ticket)}")
        await sync_to_async(viewer.allow)()
        told = [part async for part in response]
        assert told[-1] == b'event: over\ndata: "You may not look at this any more."\n\n'
        await until(lambda: node.taps is None)

    async def test_without_instances_it_is_said(self, node: Node) -> None:
        """Nobody would follow it."""
        await people(node, "7")
        viewer = await staff("channel", "tail_channel")
        node.hub.on_control = None
        answer = await begin(viewer)
        assert answer.status_code == 503
        assert "No instance follows it" in answer.json()["fault"]
        assert not await sync_to_async(LogEntry.objects.count)()


async def _publication(viewer: Staff, ticket: str) -> dict[str, Any]:
    async def found() -> Any:
        events = (await collect(viewer._client, ticket)).json()
        return next((event for event in events if event["kind"] == "publication"), None)

    event: dict[str, Any] = await until(found)
    return event


def _another(page: str, *permissions: str) -> Staff:
    User.objects.filter(username="staff").delete()
    return Staff(page, *permissions)


def _eve() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("eve"))
    return client
