"""What all pages of the cluster share: who may see and act, on everything or on one thing; nothing needs a table."""

from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command

from flotilla.realtime.models import Channel
from flotilla.realtime.node.node import Node
from tests.realtime.admin.staff import ROOM, logged, people, staff

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

PAGES = {
    "instance": "drain",
    "channel": "publish",
    "connecteduser": "disconnect",
    "connection": "disconnect",
    "block": "unblock",
    "outboxrow": "retry",
}


class Moderators:
    """A backend that knows rights on single objects: staff may control the room `open:a`."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None

    def has_perm(self, user: Any, permission: str, obj: Any = None) -> bool:
        return permission == "flotilla_realtime.control_channel" and isinstance(obj, Channel) and obj.name == ROOM


@pytest.mark.parametrize("page", PAGES)
class TestWhoMay:
    async def test_others_see_nothing_and_do_nothing(self, node: Node, page: str) -> None:
        """Staff without the permissions; with that to see alone, nothing can be done."""
        (peer,) = await people(node, "7")
        stranger = await staff(page)
        wanted = {"action": PAGES[page], "selected": [peer.client.id, "7", ROOM, node.presence.incarnation]}
        assert (await stranger.get()).status_code == 403
        assert (await stranger.get("?rows=1")).status_code == 403
        assert (await stranger.post(**wanted)).status_code == 403
        await sync_to_async(stranger.allow)(f"view_{page}")
        found = await stranger.get()
        assert found.status_code == 200
        assert b'name="action"' not in found.content
        assert b'name="selected"' not in found.content
        assert (await stranger.post(**wanted)).status_code == 403
        assert (await stranger.post(action="nothing")).status_code == 403
        assert peer.socket.closed is None
        assert not node.draining
        assert not await logged()

    async def test_who_may_act_is_told_what_is_missing(self, node: Node, page: str) -> None:
        """No action, or nothing selected."""
        await people(node, "7")
        boss = await staff(page, f"control_{page}")
        assert b'name="action"' in (await boss.get()).content
        assert b"Choose an action." in (await boss.post()).content
        assert b"Select at least one row." in (await boss.post(action=PAGES[page], data="1")).content

    async def test_the_index_shows_it_to_those_who_may(self, node: Node, page: str) -> None:
        """And nothing needs a table."""
        viewer = await staff(page, f"view_{page}")
        index = await sync_to_async(viewer._client.get)("/admin/")
        for other in PAGES:
            assert (f"/admin/flotilla_realtime/{other}/".encode() in index.content) is (other == page)
        await sync_to_async(call_command)("makemigrations", check=True, dry_run=True, verbosity=0)


async def test_whoever_goes_through_all_models_finds_nothing(settings: Any) -> None:
    """There is no table to ask."""
    out = StringIO()
    await sync_to_async(call_command)("dumpdata", "flotilla_realtime", "flotilla_monitoring", stdout=out)
    assert out.getvalue().strip() == "[]"


async def test_a_right_on_one_object_counts_for_that_object(node: Node, settings: Any) -> None:
    """Its row has a box, the others have none, and cannot be had by a forged request."""
    await people(node, "1")
    await people(node, "2", room="open:b")
    settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, f"{__name__}.Moderators"]
    moderator = await staff("channel", "view_channel")
    text = (await moderator.get()).content.decode()
    assert 'value="open:a" class="action-select"' in text
    assert 'value="open:b" class="action-select"' not in text
    assert b"Published to 1" in (await moderator.post(action="publish", data="1", selected=ROOM)).content
    forged = await moderator.post(action="publish", data="1", selected=[ROOM, "open:b"])
    assert forged.status_code == 403
    assert await logged() == [("published to open:a", "published to open:a: 1")]
