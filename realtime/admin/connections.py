"""Connections in the admin: who is connected, everywhere; ending them and their subscriptions, messages, blocks."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.contrib import admin
from django.http import HttpRequest

from flotilla.ratelimit.inspection import standings
from flotilla.ratelimit.subjects import Subject
from flotilla.realtime.admin import base
from flotilla.realtime.admin.base import Act
from flotilla.realtime.admin.block_action import BLOCKING, block_each
from flotilla.realtime.admin.detail import DetailAdmin
from flotilla.realtime.admin.fields import shown
from flotilla.realtime.admin.ordering import ORDER, Column
from flotilla.realtime.admin.tail import TailedAdmin
from flotilla.realtime.api.control import disconnect, unsubscribe
from flotilla.realtime.api.inspection import Page, connection, connections
from flotilla.realtime.api.messaging import send_message
from flotilla.realtime.api.user_names import id_of, name_users, named
from flotilla.realtime.models import Connection
from flotilla.realtime.node.control import Acknowledged

NEAR = 0.8  # of a bound


@admin.register(Connection)
class ConnectionAdmin(TailedAdmin, DetailAdmin):
    """Every connection of every instance."""

    tail_about = "client"
    filters = {
        "q": "user, address, id, client",
        "user": "user, by name or id",
        "address": "beginning of an address",
        "channel": "in channel",
        "instance": "beginning of an instance",
        "sdk": "in the SDK's name, version",
    }
    columns = (
        Column("User", "user", both=True),
        Column("Address", "address", both=True),
        Column("Connection"),
        Column("SDK", "sdk", both=True),
        Column("Instance"),
        Column("Since", "since", both=True),
        Column("Channels", "-num_channels", both=True),
        Column("Commands", "-commands", is_number=True, both=True),
        Column("Bytes waiting", "-waiting", is_number=True, both=True),
    )
    acts = {
        "disconnect": Act("Disconnect"),
        "unsubscribe": Act("Unsubscribe from", ("channel",)),
        "message": Act("Send a message", ("data",)),
        "block_user": Act("Block the user", ("seconds", "note"), permission=BLOCKING),
        "block_address": Act("Block the address", ("seconds", "note"), permission=BLOCKING),
    }

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of connections, in the order of their ids or that which is asked for."""
        page = connections(
            id_of(query["user"]) or None,
            channel=query["channel"],
            text=query["q"],
            instance=query["instance"],
            address=query["address"],
            sdk=query["sdk"],
            order=query[ORDER],
            after=after,
            limit=base.PAGE,
        )
        dress(page.rows)
        return page

    def detail(self, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        """All that its instance knows of a connection, and what limits leave it."""
        facts, page = connection(name)
        if not facts:
            return {"page": page, "gone": "No instance has this connection: it has ended, or never was."}
        dress([facts])
        facts["expire_at"] = moment(facts["expire_at"])
        if facts["last_error"]:
            facts["last_error"]["at"] = moment(facts["last_error"]["at"])
        facts["bounds"] = [
            {"what": what, "used": used, "most": most, "near": used >= NEAR * most}
            for what, used, most in facts["bounds"]
        ]
        subject = Subject(facts["address"], facts["user"], facts["client"])
        return {"page": page, "facts": facts, "limits": standings(subject, "ws.")}

    def title_of(self, name: str, facts: Mapping[str, Any]) -> str:
        """Whose it is."""
        about = facts.get("facts")
        return f"{about['username'] or about['user'] or 'a visitor'} at {about['address']}" if about else name

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


def dress(rows: list[dict[str, Any]]) -> None:
    """Connections as templates want them: times, and the names of their users."""
    for row in rows:
        row["since"] = moment(row["since"])
    name_users(rows)


def moment(at: float | None) -> datetime | None:
    """A time, given in Unix seconds; None for none."""
    return datetime.fromtimestamp(at, UTC) if at else None


def _rows(clients: list[str]) -> list[dict[str, Any]]:
    return [row for client in clients for row in connections(client=client, limit=1).rows]


def _about(clients: list[str]) -> list[tuple[str, str]]:
    """Each connection, and whose it is in words."""
    found = {row["client"]: f"{row['user'] or 'a visitor'} at {row['address']}" for row in _rows(clients)}
    return [(client, found.get(client, client)) for client in clients]
