"""Staff at the admin's pages of the cluster, and connected people to look at."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client

from flotilla import make_connection_token
from flotilla.realtime.node.node import Node
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

ROOM = "open:a"
OF_STAFF = 1_000_000  # a key that no user in the tests has


class Staff:
    """A member of the staff with permissions, at one page."""

    def __init__(self, page: str, *permissions: str) -> None:
        # The test runner empties the tables, with them the permissions that migrations made.
        call_command("migrate", verbosity=0)
        self.page = page
        self.user = User.objects.create_user("staff", is_staff=True, pk=OF_STAFF)
        self.allow(*permissions)
        self._client = Client()
        self._client.force_login(self.user)

    def allow(self, *permissions: str) -> None:
        found = Permission.objects.filter(codename__in=permissions)
        assert len(found) == len(permissions)
        self.user.user_permissions.set(found)

    async def get(self, query: str = "", page: str = "") -> Any:
        return await sync_to_async(self._client.get)(self._url(query, page))

    async def post(self, query: str = "", **fields: Any) -> Any:
        """What follows the form; where that is a page that asks whether it is meant, what follows the yes."""
        page = await self.ask(query, **fields)
        if page.status_code == 200 and b'name="confirmed"' in page.content:
            page = await self.ask(query, **fields, confirmed="yes")
        return page

    async def ask(self, query: str = "", **fields: Any) -> Any:
        """What follows the form, which may be a page that asks whether it is meant."""
        return await sync_to_async(self._client.post)(self._url(query), fields, follow=True)

    def _url(self, query: str, page: str = "") -> str:
        return f"/admin/flotilla_realtime/{page or self.page}/{query}"


async def staff(page: str, *permissions: str) -> Staff:
    return await sync_to_async(Staff)(page, *permissions)


async def people(node: Node, *users: str, room: str = ROOM) -> list[Peer]:
    """Connected users, in a room."""
    peers = [Peer(node) for _ in users]
    for peer, user in zip(peers, users, strict=True):
        await peer.connect(token=make_connection_token(user), name="app")
        await peer.subscribe(room)
    await until(lambda: node.heartbeat.alive and node.presence.alive)
    return peers


async def logged() -> list[tuple[str, str]]:
    """What “Recent actions” say, and the objects' histories."""
    entries = LogEntry.objects.order_by("pk").values_list("object_repr", "change_message")
    return await sync_to_async(list)(entries)
