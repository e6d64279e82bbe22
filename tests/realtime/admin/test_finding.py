"""Finding in the admin: searches and orders over two instances, and a page for each connection, user and instance."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from asgiref.sync import sync_to_async

from flotilla import make_connection_token
from flotilla.realtime.admin import base
from flotilla.realtime.api import inspection
from flotilla.realtime.api.blocks import block
from flotilla.realtime.node.node import Node
from tests.realtime.admin.staff import ROOM, logged, people, staff
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

BROWSER = [(b"origin", b"https://example.com"), (b"user-agent", b"Mozilla <b>9</b>"), (b"cookie", b"secret")]


def users_of(response: Any) -> list[str]:
    return [row["user"] for row in response.context["page"].rows]


async def from_a_page(node: Node, user: str) -> Peer:
    """A connection with a handshake, and an SDK that says what it is."""
    scope = {"headers": BROWSER, "path": "/connection/websocket", "query_string": b"token=secret"}
    peer = Peer(node, **scope)
    await peer.connect(token=make_connection_token(user), name="centrifuge-js", version="5.3.0")
    await peer.subscribe(ROOM)
    return peer


class TestLists:
    async def test_connections_are_found_by_instance_address_and_sdk(self, node: Node, other: Node) -> None:
        """By the beginning of a name or address, by a part of an SDK's name and version."""
        await people(node, "a", "b")
        c = await from_a_page(other, "c")
        c.client.address = "2001:db8::7"
        viewer = await staff("connection", "view_connection")
        for query, found in (
            ({"instance": "unit-1"}, ["c"]),
            ({"instance": node.presence.incarnation}, ["a", "b"]),
            ({"instance": "unit"}, ["a", "b", "c"]),
            ({"instance": "nowhere"}, []),
            ({"address": "2001:DB8"}, ["c"]),
            ({"address": "192.0.2.1", "sdk": "APP"}, ["a", "b"]),
            ({"sdk": "js 5.3"}, ["c"]),
        ):
            page = await viewer.get("?" + urlencode(query))
            assert sorted(users_of(page)) == found, query
            assert page.context["page"].complete

    async def test_an_order_is_exact_over_all_instances_and_pages(
        self, node: Node, other: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Forwards and backwards; what it covers is said; a mark that is none begins anew."""
        monkeypatch.setattr(base, "PAGE", 2)
        for number, at in enumerate((node, other, node, other, node)):
            (peer,) = await people(at, f"u{number}")
            peer.client.since = 1000.0 + number
            for _ in range(4 - number):
                await peer.ask(presence_stats={"channel": ROOM})
        viewer = await staff("connection", "view_connection")
        for order, expected in (
            ("since", ["u0", "u1", "u2", "u3", "u4"]),
            ("-since", ["u4", "u3", "u2", "u1", "u0"]),
            ("-commands", ["u0", "u1", "u2", "u3", "u4"]),
            ("-user", ["u4", "u3", "u2", "u1", "u0"]),
        ):
            query, seen = f"?o={order}", list[str]()
            for _ in range(3):
                page = await viewer.get(query)
                seen += users_of(page)
                query = "?" + page.context["following"]
            assert seen == expected, order
            assert b"over all 5 on 2 instances" in page.content
        for mark in ("\0", "x" * 9000, "[]", '["1","2"]', "[1e999,0]", "9" * 30, '[NaN,""]', "[" * 5000):
            page = await viewer.get("?" + urlencode({"o": "since", "after": mark}))
            assert users_of(page) == ["u0", "u1"], mark
        for order in ("nothing", "-", "--since", "\0", "*" * 9000, "__class__"):
            assert len(users_of(await viewer.get("?" + urlencode({"o": order})))) == 2, order

    async def test_users_and_channels_are_ranked_and_added_up(
        self, node: Node, other: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is spread over instances counts as a whole; how far that goes is said."""
        await people(node, "a", "b", "b", "c")
        await people(other, "a", "a", "c", room="open:b")
        viewer = await staff("connecteduser", "view_connecteduser", "view_channel")
        page = await viewer.get("?o=-connections")
        assert [(row["user"], row["connections"]) for row in page.context["page"].rows] == [
            ("a", 3),
            ("c", 2),
            ("b", 2),
        ]
        assert b"over all 3 on 2 instances" in page.content
        assert users_of(await viewer.get("?channel=open:b&instance=unit-1")) == ["a", "c"]
        page = await viewer.get("?o=-subscribers", page="channel")
        assert [(row["channel"], row["subscribers"]) for row in page.context["page"].rows] == [(ROOM, 4), ("open:b", 3)]
        page = await viewer.get("?user=id:b", page="channel")
        assert [row["channel"] for row in page.context["page"].rows] == [ROOM]
        for number in range(30):
            await node.broker.publish("open:b", b'{"data":%d}' % number, node.config.namespaces["open"])
        await until(lambda: other.hub.channels["open:b"].position.offset == 30)
        page = await viewer.get("?o=-per_second", page="channel")
        assert page.context["page"].rows[0]["channel"] == "open:b"
        assert page.context["page"].rows[0]["per_second"] > 0
        monkeypatch.setattr(inspection, "RANKED", 1)
        page = await viewer.get("?o=-connections")
        assert b"of the 1 that come first on each of 2 instances" in page.content


class TestPages:
    async def test_a_connection(self, node: Node, other: Node) -> None:
        """Who, from where, what it has used, and its last error; from any instance, and escaped."""
        peer = await from_a_page(other, "7")
        await people(node, "8")
        await peer.ask(publish={"channel": "closed:a", "data": 1})
        viewer = await staff("connection", "view_connection")
        page = await viewer.get(f"{peer.client.id}/change/")
        text = page.content.decode()
        for said in (
            "https://example.com",
            "Mozilla &lt;b&gt;9&lt;/b&gt;",
            "/connection/websocket",
            "centrifuge-js 5.3.0",
            "unit-1",
            "192.0.2.1",
            ROOM,
            "publish: 103 permission denied",
        ):
            assert said in text, said
        assert "secret" not in text
        facts = page.context["facts"]
        assert facts["commands"] == 3
        assert [bound["most"] for bound in facts["bounds"]] == [5, 20, node.config.max_outgoing_bytes]
        assert facts["subscriptions"][0]["epoch"]
        await peer.client.end_channel(ROOM, 2000, "")
        peer.client.closed(1001)
        gone = await viewer.get(f"{peer.client.id}/change/")
        assert b"No instance has this connection" in gone.content
        assert b"No instance has this connection" in (await viewer.get(f"{peer.client.id}/change/?rows=1")).content

    async def test_a_user(self, node: Node, other: Node) -> None:
        """Connections and channels of all instances, and a block; whoever is not there has a page as well."""
        (one,) = await people(node, "7")
        (two,) = await people(other, "7", room="open:b")
        viewer = await staff("connecteduser", "view_connecteduser")
        page = await viewer.get("7/change/")
        assert {row["client"] for row in page.context["page"].rows} == {one.client.id, two.client.id}
        assert [row["channel"] for row in page.context["channels"].rows] == [ROOM, "open:b"]
        await sync_to_async(block)("7", seconds=600, note="spam", by="boss")
        page = await viewer.get("7/change/")
        assert b"by boss: spam" in page.content
        assert b"Not connected." in page.content
        await sync_to_async(viewer.allow)("view_connecteduser", "control_connecteduser")
        answer = await viewer.post("nobody/change/", action="disconnect", confirmed="yes")
        assert answer.status_code == 200

    async def test_an_instance(self, node: Node, other: Node) -> None:
        """Alone, though another's name begins so."""
        await people(node, "1", "2")
        await people(other, "3")
        viewer = await staff("instance", "view_instance")
        await until(lambda: node.heartbeat.alive)
        page = await viewer.get(f"{quote(other.presence.incarnation.replace('_', '_5F'))}/change/")
        assert page.context["facts"]["name"] == "unit-1"
        assert users_of(page) == ["3"]
        assert [row["channel"] for row in page.context["busiest"].rows] == [ROOM]
        assert b"No living instance" in (await viewer.get("unit-7.0000/change/")).content

    @pytest.mark.parametrize("page", ["connection", "connecteduser", "instance", "channel"])
    async def test_who_may_not_see_it_does_not(self, node: Node, page: str) -> None:
        """Nor does anything that an address may hold break it."""
        viewer = await staff(page)
        assert (await viewer.get("x/change/")).status_code == 403
        assert (await viewer.get("x/change/?rows=1")).status_code == 403
        await sync_to_async(viewer.allow)(f"view_{page}")
        for name in ("%00", "x" * 300, "_", "__", "%25", "é", "💥", "a_2Fb", "..", "'\"<script>", "*", "id:"):
            answer = await viewer.get(f"{quote(name, safe='%')}/change/?after=%00&o=%00")
            assert answer.status_code == 200, name
            assert b"<script>'" not in answer.content
        assert (await viewer.post("x/change/", action="kick", selected="x")).status_code == 403


@pytest.mark.parametrize("room", [ROOM, "plain:b"])
async def test_who_is_in_a_channel_can_be_taken_out_from_its_page(node: Node, other: Node, room: str) -> None:
    """Present or only subscribed, wherever they are; others stay; it asks first, and is in the log."""
    boss = await staff("channel", "view_channel", "control_connection")
    (stays,), (goes,) = await people(node, "1", room=room), await people(other, "2", room=room)
    address = f"{room.replace(':', '_3A')}/change/"
    page = await boss.get(address)
    assert {row["client"] for row in page.context["people"]} == {stays.client.id, goes.client.id}
    asked = await boss.ask(address, action="kick", selected=goes.client.id)
    assert b"Are you sure" in asked.content
    assert not goes.pushes("unsubscribe", room)
    assert b"Select at least one row." in (await boss.ask(address, action="kick")).content
    done = await boss.post(address, action="kick", selected=goes.client.id)
    assert b"1 subscription ended." in done.content
    assert goes.pushes("unsubscribe", room) == [{"code": 2000, "reason": "server unsubscribe"}]
    assert not stays.pushes("unsubscribe", room)
    assert (await logged())[-1][1] == f"unsubscribed connection {goes.client.id} from {room}"
    await boss.post(address, action="disconnect", selected=stays.client.id)
    assert (await stays.end())[0] == 3503


async def test_a_channels_own_right_is_not_one_over_connections(node: Node) -> None:
    """Who may publish may not take anybody out: there is no box, and a forged request is refused."""
    boss = await staff("channel", "view_channel", "control_channel")
    (peer,) = await people(node, "3")
    assert b'name="selected"' not in (await boss.get("open_3Aa/change/")).content
    forged = await boss.post("open_3Aa/change/", action="kick", selected=peer.client.id, confirmed="yes")
    assert forged.status_code == 403
    assert not peer.pushes("unsubscribe", ROOM)
