"""Users in the admin: everybody with a connection, over all instances; ending all of theirs, messages, blocks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from flotilla.ratelimit.inspection import standings
from flotilla.ratelimit.subjects import Subject
from flotilla.realtime.admin import base
from flotilla.realtime.admin.affected import Affected, by_user
from flotilla.realtime.admin.base import Act
from flotilla.realtime.admin.block_action import BLOCKED, BLOCKING, block_each
from flotilla.realtime.admin.connections import dress, moment
from flotilla.realtime.admin.detail import DetailAdmin
from flotilla.realtime.admin.fields import shown
from flotilla.realtime.admin.ordering import ORDER, Column
from flotilla.realtime.admin.tail import TailedAdmin
from flotilla.realtime.admin.words import WHERE, called, count
from flotilla.realtime.api.control import disconnect
from flotilla.realtime.api.inspection import Page, blocks, channels, connections, users
from flotilla.realtime.api.messaging import send_message
from flotilla.realtime.api.user_names import id_of_name, name_users, named
from flotilla.realtime.models import ConnectedUser


@admin.register(ConnectedUser)
class ConnectedUserAdmin(TailedAdmin, DetailAdmin):
    """Every user who is connected to any instance."""

    tail_about = "user"
    filters = {
        "q": "username, or beginning of an id",
        **WHERE,
    }
    columns = (
        Column("User"),
        Column("Id"),
        Column("Connections", "-connections", is_number=True),
        Column("Since", "since"),
    )
    acts = {
        "disconnect": Act("Disconnect", asks="All connections of these users end, and their clients stay away (3503)."),
        "message": Act("Send a message", ("data",)),
        "block": Act("Block", ("seconds", "note"), permission=BLOCKING, asks=BLOCKED),
    }

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of users, in the order of their ids."""
        known = id_of_name(query["q"])
        page = users(
            known,
            text="" if known else query["q"],
            channel=query["channel"],
            instance=query["instance"],
            address=query["address"],
            sdk=query["sdk"],
            order=query[ORDER],
            after=after,
            limit=base.PAGE,
        )
        for row in page.rows:
            row["since"] = datetime.fromtimestamp(row["since"], UTC)
        name_users(page.rows)
        return page

    def detail(self, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Connections, channels, a block, and what limits leave a user, connected or not."""
        page = connections(name, limit=base.PAGE)
        dress(page.rows)
        blocked = next((row for row in blocks(text=name).rows if not row["is_address"]), None)
        if blocked is not None:
            blocked["until"] = moment(blocked["until"])
        who = named(name)
        return {
            "page": page,
            "name": name,
            "username": who.name,
            "user_query": f"id:{name}",
            "blocked": blocked,
            "channels": channels(user=name, limit=base.PAGE),
            "limits": standings(Subject(user=name)),
            "limit_url": self._limit_url(name) if who.name else "",
        }

    def _limit_url(self, user: str) -> str:
        """Where a personal limit is added for a user of Django; "" where this site has no such page."""
        try:
            address = reverse(f"{self.admin_site.name}:flotilla_ratelimit_personallimit_add")
        except NoReverseMatch:
            return ""
        return f"{address}?{urlencode({'user': user})}"

    def title_of(self, name: str, facts: Mapping[str, Any]) -> str:
        """By name, where there is one."""
        return str(facts.get("username") or name)

    def affected(self, name: str, selected: list[str], **given: Any) -> Affected:
        return by_user(selected)

    def act_disconnect(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """All connections, for good: 3503."""
        hit = 0
        for user in selected:
            done = disconnect(user)
            hit += done.hit
            if done.hit:
                self.log(request, user, f"disconnected {called(named(user))} ({count(done.hit, 'connection')})")
        return hit, f"{count(hit, 'connection')} ended."

    def act_message(self, request: HttpRequest, selected: list[str], data: msgspec.Raw) -> tuple[int, str]:
        """To every connection of theirs."""
        hit = 0
        for user in selected:
            done = send_message(user, data)
            hit += done.hit
            if done.hit:
                deed = f"sent {called(named(user))} a message ({count(done.hit, 'connection')})"
                self.log(request, user, deed, shown(data))
        return hit, f"Sent to {count(hit, 'connection')}."

    def act_block(self, request: HttpRequest, selected: list[str], seconds: float, note: str) -> tuple[int, str]:
        """Keep them out for a time."""
        return block_each(self, request, [(named(user), "") for user in selected], seconds, note)
