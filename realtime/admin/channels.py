"""Channels in the admin: those with subscribers, and one by its name, with who is in it and what was published last.

Publishing and clearing history are done from the list, for several, or from a channel's own page.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from flotilla.realtime.admin import base
from flotilla.realtime.admin.affected import Affected
from flotilla.realtime.admin.base import Act, Errors, LiveAdmin, fields_of
from flotilla.realtime.admin.fields import shown
from flotilla.realtime.admin.words import count
from flotilla.realtime.api.inspection import Page, channel, channel_states, channels, members
from flotilla.realtime.api.publishing import broker, options_of
from flotilla.realtime.api.python import publish
from flotilla.realtime.api.user_names import name_users
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.models import Channel
from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.store import StoreUnavailable

NEWEST = 20  # publications shown
MAX_SHOWN = 500  # characters of each
MAX_BYTES = 1_000_000  # of all of them


@admin.register(Channel)
class ChannelAdmin(LiveAdmin):
    """Every channel that somebody subscribes to."""

    filters = {"q": "beginning of a name, or pattern with *"}
    acts = {
        "publish": Act("Publish", ("data",)),
        "clear": Act("Clear history", asks="What was published is gone for those who come back, or join later."),
    }
    note = "Channels that have subscribers. To find one without, search for its whole name."

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of channels, in the order of their names."""
        page = channels(text=query["q"], after=after, limit=base.PAGE)
        for row in page.rows:
            _dress(row)
        return page

    def name_of(self, row: Mapping[str, Any]) -> str:
        return str(row["channel"])

    def affected(self, name: str, selected: list[str], **given: Any) -> Affected:
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

    def get_urls(self) -> list[URLPattern]:
        """The list, and a channel's own page."""
        page = self.admin_site.admin_view(self.channel_view)
        return [*super().get_urls(), path("<path:object_id>/change/", page, name="flotilla_realtime_channel_change")]

    def channel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One channel: its facts, those in it a page at a time, its newest publications."""
        name = unquote(object_id)
        asked = Channel(name=name)
        if not self.has_view_permission(request, asked):
            raise PermissionDenied
        errors: Errors = []
        if request.method == "POST" and (done := self.act(request, self.acts, [name], errors)) is not None:
            return done
        after = request.GET.get("after", "")
        acts = self.acts if self.may_control(request, asked) else {}
        context = self.context(request) | {
            "title": name,
            "original": asked,
            "paged": bool(after),
            "columns": "admin/realtime/channel.html",
            "acts": acts,
            "errors": errors,
            "fields": fields_of(acts),
        }
        try:
            context |= _one(name, after)
        except StoreUnavailable as error:
            context["fault"] = f"Redis does not answer: {error}"
        except CommandError as error:
            context["fault"] = f"This cannot be a channel: {error.message}."
        template = "rows.html" if "rows" in request.GET else "channel_page.html"
        return TemplateResponse(request, f"admin/realtime/{template}", context)


def _one(name: str, after: str) -> dict[str, Any]:
    """What a channel's own page shows."""
    options = options_of(name)
    page = channel(name)
    (facts,) = page.rows
    seen, following = members(name, after=after, limit=base.PAGE)
    people = [{"client": one.client, "user": one.user, "instance": one.incarnation.rpartition(".")[0]} for one in seen]
    name_users(people)
    newest, too_large = _newest(name, options) if facts["epoch"] else ([], False)
    return {
        "page": page,
        "facts": _dress(facts),
        "people": people,
        "following": following,
        "newest": newest,
        "too_large": too_large,
    }


def _newest(name: str, options: ChannelOptions) -> tuple[list[dict[str, Any]], bool]:
    """The last publications, and whether they are too large to be shown."""
    page = broker().history_sync(name, options, limit=NEWEST, reverse=True, max_bytes=MAX_BYTES, whole=True)
    newest = []
    for publication in page.publications:
        told, _ = foreign.read(publication.body, _Told)
        said = bytes(told.data).decode()[:MAX_SHOWN]
        newest.append({"offset": publication.offset, "said": said, "info": told.info})
    return newest, page.overflow


class _Told(msgspec.Struct):
    """What of a publication is shown."""

    data: msgspec.Raw
    info: dict[str, Any] | None = None


def _dress(row: dict[str, Any]) -> dict[str, Any]:
    """Times as the templates want them, and where the channel's page is."""
    row["quoted"] = quote(row["channel"])
    row["published_at"] = datetime.fromtimestamp(row["published_at"], UTC) if row["published_at"] else None
    return row
