"""Blocks in the admin: who may not connect, until when; blocking one more, and unblocking."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from flotilla.natural_names import NamedUser, UnknownName, user_named
from flotilla.ratelimit.http.addresses import address_of
from flotilla.realtime.admin import base
from flotilla.realtime.admin.affected import Affected
from flotilla.realtime.admin.base import Act, LiveAdmin
from flotilla.realtime.admin.block_action import BLOCKED, block_each, blocking_hits
from flotilla.realtime.admin.words import called
from flotilla.realtime.api.blocks import unblock
from flotilla.realtime.api.inspection import Page, blocks
from flotilla.realtime.api.user_names import id_of, name_users, named
from flotilla.realtime.models import Block


@admin.register(Block)
class BlockAdmin(LiveAdmin):
    """Every block in force."""

    filters = {"q": "user, or whole address"}
    acts = {
        "unblock": Act("Unblock"),
        "block": Act("Block somebody", ("whom", "seconds", "note"), selects=False, asks=BLOCKED),
    }

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of blocks, those that end first before others. Raises UnknownName for who can be neither."""
        page = blocks(text=id_of(query["q"]), after=after, limit=base.PAGE)
        if query["q"] and not page.rows:
            _require_known(query["q"])
        for row in page.rows:
            row["until"] = datetime.fromtimestamp(row["until"], UTC)
            row["user"] = "" if row["is_address"] else row["name"]
        name_users(page.rows)
        return page

    def affected(self, name: str, selected: list[str], **given: Any) -> Affected:
        return blocking_hits(*given["whom"])

    def act_unblock(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """Let them in again."""
        lifted = 0
        for who in selected:
            kind, _, name = who.partition(":")
            done = unblock(address=name) if kind == "a" else unblock(name)
            lifted += done
            if done:
                self.log(request, who, f"unblocked {name if kind == 'a' else called(named(name))}")
        return lifted, f"{lifted} unblocked."

    def act_block(
        self, request: HttpRequest, _: list[str], whom: tuple[NamedUser | None, str], seconds: float, note: str
    ) -> tuple[int, str]:
        """A user or an address that need not be connected."""
        hit, words = block_each(self, request, [whom], seconds, note)
        user, address = whom
        return hit, f"{f'user {user}' if user is not None else f'address {address}'}: {words}"


def _require_known(text: str) -> None:
    """Raise UnknownName for what is neither an address nor a user."""
    try:
        address_of(text)
    except ValueError as no_address:
        try:
            user_named(text)
        except UnknownName as nobody:
            raise UnknownName(f"{nobody}; and {no_address}") from None
