"""Channels in the admin: those with subscribers, and one by its name, with who is in it and what was published last.

Publishing and clearing history are done from the list, for several, or from a channel's own page.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.http import HttpRequest

from flotilla.realtime.admin import base
from flotilla.realtime.admin.affected import Affected, by_client
from flotilla.realtime.admin.base import Act
from flotilla.realtime.admin.detail import DetailAdmin
from flotilla.realtime.admin.fields import shown
from flotilla.realtime.admin.ordering import ORDER, Column
from flotilla.realtime.admin.tail import TailedAdmin
from flotilla.realtime.admin.words import count
from flotilla.realtime.api.control import disconnect, unsubscribe
from flotilla.realtime.api.inspection import Page, channel, channel_states, channels, connections, members
from flotilla.realtime.api.maps import map_get
from flotilla.realtime.api.publishing import broker, options_of
from flotilla.realtime.api.python import publish
from flotilla.realtime.api.user_names import id_of, name_users
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.models import Channel
from flotilla.realtime.protocol import bodies, foreign
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.maps import is_entry

NEWEST = 20  # publications shown
MAX_SHOWN = 500  # characters of each
MAX_BYTES = 1_000_000  # of all of them
KICKING = "flotilla_realtime.control_connection"
KICKS = {
    "kick": Act(
        "Unsubscribe those selected",
        permission=KICKING,
        asks="They leave this channel, and their clients do not subscribe to it again (2000).",
    ),
    "disconnect": Act(
        "Disconnect those selected",
        permission=KICKING,
        asks="These connections end, and their clients stay away (3503).",
    ),
}


@admin.register(Channel)
class ChannelAdmin(TailedAdmin, DetailAdmin):
    """Every channel that somebody subscribes to."""

    tail_about = "channel"
    row_acts = KICKS
    filters = {
        "q": "beginning of a name, or pattern with *",
        "user": "user in it, by name or id",
        "instance": "beginning of an instance",
    }
    columns = (
        Column("Channel"),
        Column("Subscribers", "-subscribers", is_number=True),
        Column("A second", "-per_second", is_number=True),
        Column("Users", is_number=True),
        Column("Top offset", is_number=True),
        Column("In history", is_number=True),
        Column("Last publication", "-published_at"),
    )
    acts = {
        "publish": Act("Publish", ("data",)),
        "clear": Act("Clear history", asks="What was published is gone for those who come back, or join later."),
    }
    note = "Channels that have subscribers. To find one without, search for its whole name."

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of channels, in the order of their names or that which is asked for."""
        page = channels(
            text=query["q"],
            user=id_of(query["user"]) or None,
            instance=query["instance"],
            order=query[ORDER],
            after=after,
            limit=base.PAGE,
        )
        for row in page.rows:
            _dress(row)
        return page

    def name_of(self, row: Mapping[str, Any]) -> str:
        return str(row["channel"])

    def affected(self, name: str, selected: list[str], **given: Any) -> Affected:
        if name in KICKS:
            return by_client(selected)
        rows = [{"channel": one} | state for one, state in zip(selected, channel_states(selected), strict=True)]
        total = sum(row["stored"] for row in rows)
        lines = [f"{row['channel']}: {count(row['stored'], 'publication')}" for row in rows]
        return Affected(f"{count(total, 'publication')} in {count(len(rows), 'channel')}", lines)

    def act_publish(self, request: HttpRequest, selected: list[str], data: msgspec.Raw) -> tuple[int, str]:
        """Into each, as the server itself."""
        for name in selected:
            options_of(name)
        for name in selected:
            publish(name, data, on_commit=False)
            self.log(request, name, f"published to {name}", shown(data))
        return len(selected), f"Published to {count(len(selected), 'channel')}."

    def act_clear(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """Empty the history of each; positions stay."""
        for name in selected:
            if not options_of(name).has_history:
                raise CommandError(ErrorCode.NOT_AVAILABLE, f"{name} keeps no history")
        for name in selected:
            broker().forget_sync(name)
            self.log(request, name, f"cleared the history of {name}")
        return len(selected), f"History of {count(len(selected), 'channel')} cleared."

    # One channel

    def act_kick(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """Unsubscribe the selected connections from this channel, for good: 2000."""
        name, hit = self._shown(request), 0
        for client in selected:
            done = unsubscribe(None, name, client=client)
            hit += done.hit
            if done.hit:
                self.log(request, name, f"unsubscribed connection {client} from {name}")
        return hit, f"{count(hit, 'subscription')} ended."

    def act_disconnect(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """End the selected connections, for good: 3503."""
        name, hit = self._shown(request), 0
        for client in selected:
            done = disconnect(client=client)
            hit += done.hit
            if done.hit:
                self.log(request, name, f"disconnected connection {client}, seen in {name}")
        return hit, f"{count(hit, 'connection')} ended."

    @staticmethod
    def _shown(request: HttpRequest) -> str:
        """The channel whose page was posted to."""
        assert request.resolver_match is not None
        return str(unquote(request.resolver_match.kwargs["object_id"]))

    def detail(self, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Its facts, those in it a page at a time, its newest publications."""
        options = options_of(name)
        page = channel(name)
        (facts,) = page.rows
        people, following = _people(name, facts, query.get("after", ""))
        newest, too_large = _newest(name, options) if facts["epoch"] else ([], False)
        return {
            "page": page,
            "facts": _dress(facts),
            "people": people,
            "following": following,
            "newest": newest,
            "map": map_get(name, limit=1) if options.map else None,
            "too_large": too_large,
        }


def _people(name: str, facts: Mapping[str, Any], after: str) -> tuple[list[dict[str, Any]], str]:
    """Some of those in a channel: present in it, or where presence is off its subscribers; and the cursor of more."""
    if facts["present"] is None:
        page = connections(channel=name, after=after, limit=base.PAGE)
        people, following = page.rows, page.next
    else:
        seen, following = members(name, after=after, limit=base.PAGE)
        people = [{"client": one.client, "user": one.user, "instance": _instance(one.incarnation)} for one in seen]
    name_users(people)
    for one in people:
        one |= {"box": one["client"], "may": True}
    return people, following


def _instance(incarnation: str) -> str:
    """The name before the part that each start makes anew."""
    return incarnation.rpartition(".")[0]


def _newest(name: str, options: ChannelOptions) -> tuple[list[dict[str, Any]], bool]:
    """The last publications, and whether they are too large to be shown."""
    page = broker().history_sync(name, options, limit=NEWEST, reverse=True, max_bytes=MAX_BYTES, whole=True)
    newest = []
    for publication in page.publications:
        told, _ = foreign.read(bodies.shown(publication.body), _Told)
        said = bytes(told.data).decode()[:MAX_SHOWN]
        key = told.key if is_entry(publication.body) else ""
        newest.append({"offset": publication.offset, "said": said, "info": told.info, "key": key})
    return newest, page.overflow


class _Told(msgspec.Struct):
    """What of a publication is shown."""

    data: msgspec.Raw = msgspec.Raw(b"")
    info: dict[str, Any] | None = None
    key: str = ""


def _dress(row: dict[str, Any]) -> dict[str, Any]:
    """Times as the templates want them, and where the channel's page is."""
    row["quoted"] = quote(row["channel"])
    row["published_at"] = datetime.fromtimestamp(row["published_at"], UTC) if row["published_at"] else None
    return row
