"""Connections in the admin: who is connected, everywhere; ending them and their subscriptions, messages, blocks."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.contrib import admin
from django.http import HttpRequest

from flotilla.natural_names import NamedUser, user_named
from flotilla.ratelimit.http.addresses import counted
from flotilla.realtime.admin import base
from flotilla.realtime.admin.affected import Affected, by_address, by_client, by_user, connections_of
from flotilla.realtime.admin.base import Act, LiveAdmin
from flotilla.realtime.admin.block_action import BLOCKED, BLOCKING, block_each
from flotilla.realtime.admin.fields import shown
from flotilla.realtime.admin.words import count, owner
from flotilla.realtime.api.control import disconnect, unsubscribe
from flotilla.realtime.api.inspection import Page, connections
from flotilla.realtime.api.messaging import send_message
from flotilla.realtime.api.publishing import options_of
from flotilla.realtime.api.user_names import id_of, name_users, named
from flotilla.realtime.models import Connection
from flotilla.realtime.node.control import Acknowledged


@admin.register(Connection)
class ConnectionAdmin(LiveAdmin):
    """Every connection of every instance."""

    filters = {"q": "user, address, id, client", "user": "user, by name or id", "channel": "in channel"}
    acts = {
        "disconnect": Act("Disconnect", asks="These connections end, and their clients stay away (3503)."),
        "unsubscribe": Act(
            "Unsubscribe from",
            ("channel",),
            asks="Connections stay; their clients do not subscribe again (2000).",
        ),
        "message": Act("Send a message", ("data",)),
        "block_user": Act("Block the user", ("seconds", "note"), permission=BLOCKING, asks=BLOCKED),
        "block_address": Act("Block the address", ("seconds", "note"), permission=BLOCKING, asks=BLOCKED),
    }

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of connections, in the order of their ids. Raises UnknownName for a user whom nobody knows."""
        user, channel, text = id_of(query["user"]) or None, query["channel"], query["q"]
        page = connections(user, channel=channel, text=text, after=after, limit=base.PAGE)
        if user and not page.rows:
            user_named(query["user"])  # nobody was meant: this says so
        name_users(page.rows)
        for row in page.rows:
            row["since"] = datetime.fromtimestamp(row["since"], UTC)
            row["called"] = owner(row)
        return page

    def affected(self, name: str, selected: list[str], **given: Any) -> Affected:
        if name == "block_user":
            return by_user([user.id for user in _users(selected)])
        if name == "block_address":
            return by_address(_addresses(selected))
        channel = given.get("channel", "")
        if channel:
            options_of(channel)
        return by_client(selected, channel)

    def _each(
        self,
        request: HttpRequest,
        selected: list[str],
        do: Callable[[str], Acknowledged],
        deed: Callable[[str], str],
        more: str = "",
    ) -> int:
        """Do it to each connection; the log has the `deed`, said of its owner. Returns how many were hit."""
        hit = 0
        owners = {row["client"]: owner(row) for row in connections_of(selected)}
        for client in selected:
            done = do(client)
            hit += done.hit
            if done.hit:
                self.log(request, client, deed(owners.get(client, client)), more)
        return hit

    def act_disconnect(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """For good: 3503."""
        hit = self._each(request, selected, lambda client: disconnect(client=client), "disconnected {}".format)
        return hit, f"{count(hit, 'connection')} ended."

    def act_unsubscribe(self, request: HttpRequest, selected: list[str], channel: str) -> tuple[int, str]:
        """For good: 2000."""

        def do(client: str) -> Acknowledged:
            return unsubscribe(None, channel, client=client)

        hit = self._each(request, selected, do, lambda whom: f"unsubscribed {whom} from {channel}")
        return hit, f"{count(hit, 'subscription')} ended."

    def act_message(self, request: HttpRequest, selected: list[str], data: msgspec.Raw) -> tuple[int, str]:
        """A push of no channel."""

        def do(client: str) -> Acknowledged:
            return send_message(None, data, client=client)

        hit = self._each(request, selected, do, "sent {} a message".format, shown(data))
        return hit, f"Sent to {count(hit, 'connection')}."

    def act_block_user(self, request: HttpRequest, selected: list[str], seconds: float, note: str) -> tuple[int, str]:
        """The users behind the selected connections."""
        return block_each(self, request, [(user, "") for user in _users(selected)], seconds, note)

    def act_block_address(
        self, request: HttpRequest, selected: list[str], seconds: float, note: str
    ) -> tuple[int, str]:
        """Where the selected connections come from."""
        return block_each(self, request, [(None, address) for address in _addresses(selected)], seconds, note)


def _users(clients: list[str]) -> list[NamedUser]:
    """The users of connections. ValueError where one has none."""
    found = {row["user"] for row in connections_of(clients)}
    if "" in found:
        raise ValueError("a visitor has no user to block: block the address")
    return [named(user) for user in sorted(found)]


def _addresses(clients: list[str]) -> list[str]:
    """The addresses of connections, as limits count them."""
    return sorted({counted(row["address"]) for row in connections_of(clients) if row["address"]})
