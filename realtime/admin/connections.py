"""Connections in the admin: who is connected, everywhere; ending them and their subscriptions, messages, blocks."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.contrib import admin
from django.http import HttpRequest

from flotilla.realtime.admin import base
from flotilla.realtime.admin.base import Act, LiveAdmin
from flotilla.realtime.admin.block_action import BLOCKING, block_each
from flotilla.realtime.admin.fields import shown
from flotilla.realtime.api.control import disconnect, unsubscribe
from flotilla.realtime.api.inspection import Page, connections
from flotilla.realtime.api.messaging import send_message
from flotilla.realtime.api.user_names import id_of, name_users, named
from flotilla.realtime.models import Connection
from flotilla.realtime.node.control import Acknowledged


@admin.register(Connection)
class ConnectionAdmin(LiveAdmin):
    """Every connection of every instance."""

    filters = {"q": "user, address, id, client", "user": "user, by name or id", "channel": "in channel"}
    acts = {
        "disconnect": Act("Disconnect"),
        "unsubscribe": Act("Unsubscribe from", ("channel",)),
        "message": Act("Send a message", ("data",)),
        "block_user": Act("Block the user", ("seconds", "note"), permission=BLOCKING),
        "block_address": Act("Block the address", ("seconds", "note"), permission=BLOCKING),
    }

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of connections, in the order of their ids."""
        user, channel, text = id_of(query["user"]) or None, query["channel"], query["q"]
        page = connections(user, channel=channel, text=text, after=after, limit=base.PAGE)
        for row in page.rows:
            row["since"] = datetime.fromtimestamp(row["since"], UTC)
        name_users(page.rows)
        return page

    def _each(self, request: HttpRequest, selected: list[str], do: Callable[[str], Acknowledged], words: str) -> int:
        """Do it to each connection; those that were hit are in the log. Returns how many."""
        hit = 0
        for client, whom in _about(selected):
            done = do(client)
            hit += done.hit
            if done.hit:
                self.log(request, client, words, whom)
        return hit

    def act_disconnect(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """For good: 3503."""
        hit = self._each(request, selected, lambda client: disconnect(client=client), "Disconnected (3503).")
        return hit, f"{hit} connections ended."

    def act_unsubscribe(self, request: HttpRequest, selected: list[str], channel: str) -> tuple[int, str]:
        """For good: 2000."""
        hit = self._each(
            request,
            selected,
            lambda client: unsubscribe(None, channel, client=client),
            f"Unsubscribed from {channel} (2000).",
        )
        return hit, f"{hit} subscriptions ended."

    def act_message(self, request: HttpRequest, selected: list[str], data: msgspec.Raw) -> tuple[int, str]:
        """A push of no channel."""
        hit = self._each(
            request, selected, lambda client: send_message(None, data, client=client), f"Sent a message: {shown(data)}"
        )
        return hit, f"Sent to {hit} connections."

    def act_block_user(self, request: HttpRequest, selected: list[str], seconds: float, note: str) -> tuple[int, str]:
        """The users behind the selected connections."""
        users = {row["user"] for row in _rows(selected)}
        if "" in users:
            raise ValueError("a visitor has no user to block: block the address")
        return block_each(self, request, [(named(user), "") for user in sorted(users)], seconds, note)

    def act_block_address(
        self, request: HttpRequest, selected: list[str], seconds: float, note: str
    ) -> tuple[int, str]:
        """Where the selected connections come from."""
        addresses = {row["address"] for row in _rows(selected)} - {""}
        return block_each(self, request, [(None, address) for address in sorted(addresses)], seconds, note)


def _rows(clients: list[str]) -> list[dict[str, Any]]:
    return [row for client in clients for row in connections(client=client, limit=1).rows]


def _about(clients: list[str]) -> list[tuple[str, str]]:
    """Each connection, and whose it is in words."""
    found = {row["client"]: f"{row['user'] or 'a visitor'} at {row['address']}" for row in _rows(clients)}
    return [(client, found.get(client, client)) for client in clients]
