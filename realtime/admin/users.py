"""Users in the admin: everybody with a connection, over all instances; ending all of theirs, messages, blocks."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from django.contrib import admin
from django.http import HttpRequest

from flotilla.realtime.admin import base
from flotilla.realtime.admin.base import Act, LiveAdmin
from flotilla.realtime.admin.block_action import BLOCKING, block_each
from flotilla.realtime.admin.fields import shown
from flotilla.realtime.api.control import disconnect
from flotilla.realtime.api.inspection import Page, users
from flotilla.realtime.api.messaging import send_message
from flotilla.realtime.api.user_names import id_of_name, name_users, named
from flotilla.realtime.models import ConnectedUser


@admin.register(ConnectedUser)
class ConnectedUserAdmin(LiveAdmin):
    """Every user who is connected to any instance."""

    filters = {"q": "username, or beginning of an id"}
    acts = {
        "disconnect": Act("Disconnect"),
        "message": Act("Send a message", ("data",)),
        "block": Act("Block", ("seconds", "note"), permission=BLOCKING),
    }

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of users, in the order of their ids."""
        known = id_of_name(query["q"])
        page = users(known, text="" if known else query["q"], after=after, limit=base.PAGE)
        for row in page.rows:
            row["since"] = datetime.fromtimestamp(row["since"], UTC)
        name_users(page.rows)
        return page

    def act_disconnect(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """All connections, for good: 3503."""
        hit = 0
        for user in selected:
            done = disconnect(user)
            hit += done.hit
            if done.hit:
                self.log(request, user, f"Disconnected (3503), {done.hit} connections.")
        return hit, f"{hit} connections ended."

    def act_message(self, request: HttpRequest, selected: list[str], data: msgspec.Raw) -> tuple[int, str]:
        """To every connection of theirs."""
        hit = 0
        for user in selected:
            done = send_message(user, data)
            hit += done.hit
            if done.hit:
                self.log(request, user, f"Sent a message: {shown(data)}")
        return hit, f"Sent to {hit} connections."

    def act_block(self, request: HttpRequest, selected: list[str], seconds: float, note: str) -> tuple[int, str]:
        """Keep them out for a time."""
        return block_each(self, request, [(named(user), "") for user in selected], seconds, note)
