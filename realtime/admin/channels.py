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

from realtime.admin import base
from realtime.admin.base import Act, ClusterAdmin, fields_of
from realtime.admin.fields import shown
from realtime.admin.people import name_users
from realtime.api.looking import Page, channel_facts, channels, members
from realtime.api.publishing import broker, options_of
from realtime.api.python import history, publish
from realtime.models import Channel
from realtime.protocol.codes import CommandError, ErrorCode
from store import StoreUnavailable

NEWEST = 20  # publications shown
MOST_SHOWN = 500  # characters of each


@admin.register(Channel)
class ChannelAdmin(ClusterAdmin):
    """Every channel that somebody subscribes to."""

    filters = {"q": "beginning of a name, or pattern with *"}
    acts = {"publish": Act("Publish", ("data",)), "clear": Act("Clear history")}
    note = "Channels with subscribers. One without is found by its whole name."

    def look(self, query: Mapping[str, str], after: str) -> Page:
        """A page of channels, in the order of their names."""
        page = channels(text=query["q"], after=after, limit=base.PAGE)
        for row in page.rows:
            _dress(row)
        return page

    def name_of(self, row: Mapping[str, Any]) -> str:
        return str(row["channel"])

    def act_publish(self, request: HttpRequest, selected: list[str], data: msgspec.Raw) -> tuple[int, str]:
        """Into each, as the server itself."""
        for channel in selected:
            options_of(channel)
        for channel in selected:
            publish(channel, data, on_commit=False)
            self.log(request, channel, f"Published: {shown(data)}")
        return len(selected), f"Published to {len(selected)} channels."

    def act_clear(self, request: HttpRequest, selected: list[str]) -> tuple[int, str]:
        """Empty the history of each; positions stay."""
        for channel in selected:
            if not options_of(channel).has_history:
                raise CommandError(ErrorCode.NOT_AVAILABLE, f"{channel} keeps no history")
        for channel in selected:
            broker().forget_sync(channel)
            self.log(request, channel, "History cleared.")
        return len(selected), f"History of {len(selected)} channels cleared."

    # One channel

    def get_urls(self) -> list[URLPattern]:
        """The list, and a channel's own page."""
        page = self.admin_site.admin_view(self.channel_view)
        return [*super().get_urls(), path("<path:object_id>/change/", page, name="realtime_channel_change")]

    def channel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One channel: its facts, those in it a page at a time, its newest publications."""
        name = unquote(object_id)
        channel = Channel(name=name)
        if not self.has_view_permission(request, channel):
            raise PermissionDenied
        if request.method == "POST" and (done := self.act(request, self.acts, [name])) is not None:
            return done
        after = request.GET.get("after", "")
        acts = self.acts if self.may_control(request, channel) else {}
        context = self.context(request) | {
            "title": name,
            "original": channel,
            "paged": bool(after),
            "columns": "admin/realtime/channel.html",
            "acts": acts,
            "fields": fields_of(acts),
        }
        try:
            context |= _one(name, after if after.isascii() and after.isdigit() else "")
        except StoreUnavailable as error:
            context["fault"] = f"Redis does not answer: {error}"
        except CommandError as error:
            context["fault"] = f"There can be no such channel: {error.message}."
        template = "rows.html" if "rows" in request.GET else "channel_page.html"
        return TemplateResponse(request, f"admin/realtime/{template}", context)


def _one(name: str, after: str) -> dict[str, Any]:
    """What a channel's own page shows."""
    options = options_of(name)
    (facts,) = channel_facts([name])
    seen, following = members(name, after=after, limit=base.PAGE)
    people = [{"client": one.client, "user": one.user, "instance": one.incarnation} for one in seen]
    name_users(people)
    newest = history(name, limit=NEWEST, reverse=True).publications if options.has_history else []
    for publication in newest:
        publication["said"] = msgspec.json.encode(publication["data"]).decode()[:MOST_SHOWN]
    return {"facts": _dress({"channel": name} | facts), "people": people, "following": following, "newest": newest}


def _dress(row: dict[str, Any]) -> dict[str, Any]:
    """Times as the templates want them, and where the channel's page is."""
    row["quoted"] = quote(row["channel"])
    row["published_at"] = datetime.fromtimestamp(row["published_at"], UTC) if row["published_at"] else None
    return row
