"""Connections in the admin: who is connected, everywhere; ending them and their subscriptions, messages, blocks."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.contrib import admin
from django.http import HttpRequest

from flotilla.natural_names import NamedUser, user_named
from flotilla.ratelimit.http.addresses import counted
from flotilla.ratelimit.inspection import standings
from flotilla.ratelimit.subjects import Subject
from flotilla.realtime.admin import base
from flotilla.realtime.admin.affected import Affected, by_address, by_client, by_user, connections_of
from flotilla.realtime.admin.base import Act
from flotilla.realtime.admin.block_action import BLOCKED, BLOCKING, block_each
from flotilla.realtime.admin.detail import DetailAdmin
from flotilla.realtime.admin.fields import shown
from flotilla.realtime.admin.ordering import ORDER, Column
from flotilla.realtime.admin.tail import TailedAdmin
from flotilla.realtime.admin.words import WHERE, count, owner
from flotilla.realtime.api.control import disconnect, unsubscribe
from flotilla.realtime.api.inspection import Page, connection, connections
from flotilla.realtime.api.messaging import send_message
from flotilla.realtime.api.publishing import options_of
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
        **WHERE,
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
        """A page of connections, in the order of their ids or another. Raises UnknownName for a user whom nobody
        knows."""
        user = id_of(query["user"]) or None
        page = connections(
            user,
            channel=query["channel"],
            text=query["q"],
            instance=query["instance"],
            address=query["address"],
            sdk=query["sdk"],
            order=query[ORDER],
            after=after,
            limit=base.PAGE,
        )
        if user and not page.rows:
            user_named(query["user"])  # nobody was meant: this says so
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


def dress(rows: list[dict[str, Any]]) -> None:
    """Connections as templates want them: times, and the names of their users."""
    name_users(rows)
    for row in rows:
        row["since"] = moment(row["since"])
        row["called"] = owner(row)


def moment(at: float | None) -> datetime | None:
    """A time, given in Unix seconds; None for none."""
    return datetime.fromtimestamp(at, UTC) if at else None


def _users(clients: list[str]) -> list[NamedUser]:
    """The users of connections. ValueError where one has none."""
    found = {row["user"] for row in connections_of(clients)}
    if "" in found:
        raise ValueError("a visitor has no user to block: block the address")
    return [named(user) for user in sorted(found)]


def _addresses(clients: list[str]) -> list[str]:
    """The addresses of connections, as limits count them."""
    return sorted({counted(row["address"]) for row in connections_of(clients) if row["address"]})
