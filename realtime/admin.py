"""Connections in the admin: who is connected, everywhere and live; and ending connections and subscriptions.

Seeing needs `realtime.view_connection`, ending `realtime.control_connection`. Whatever is ended is in the admin's log,
with who did it. The rows come from the instances, a page at a time, and are never all in one place.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from realtime.api.control import disconnect, unsubscribe
from realtime.api.looking import ConnectionPage, connections
from realtime.models import Connection
from realtime.protocol.codes import CommandError
from store import StoreUnavailable

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Connection]
else:
    _ModelAdmin = admin.ModelAdmin

PAGE = 50
FILTERS = ("q", "user", "channel")
REFRESH_EVERY = 3  # seconds
MOST_SELECTED = 200
NOTHING = ConnectionPage([], 0, "", 0, 0)


@admin.register(Connection)
class ConnectionAdmin(_ModelAdmin):
    """A list of what is, with two actions; nothing to add, change or delete."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        return request.user.has_perm("realtime.view_connection") or self.may_control(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        return False

    @staticmethod
    def may_control(request: HttpRequest) -> bool:
        """Whether this user may end connections."""
        return request.user.has_perm("realtime.control_connection")

    def get_urls(self) -> list[URLPattern]:
        """The list alone: there is no table behind other pages."""
        return [path("", self.admin_site.admin_view(self.changelist_view), name="realtime_connection_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list; its rows alone for who looks at it live (`?rows`); an action when posted."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._act(request)
        page, fault = _page(request.GET)
        wanted = {name: request.GET.get(name, "") for name in FILTERS}
        following = {**wanted, "after": page.next}
        context = self.admin_site.each_context(request) | {
            "title": "Connections",
            "opts": self.model._meta,
            "page": page,
            "fault": fault,
            "wanted": wanted,
            "filtered": any(wanted.values()),
            "following": urlencode({key: value for key, value in following.items() if value}) if page.next else "",
            "may_control": self.may_control(request),
            "every": REFRESH_EVERY,
        }
        rows = "rows" in request.GET
        template = "admin/realtime/connection_rows.html" if rows else "admin/realtime/connections.html"
        return TemplateResponse(request, template, context)

    # Actions

    def _act(self, request: HttpRequest) -> HttpResponse:
        if not self.may_control(request):
            raise PermissionDenied
        clients = request.POST.getlist("client")[:MOST_SELECTED]
        action, channel = request.POST.get("action", ""), request.POST.get("from_channel", "").strip()
        if not clients or action not in ("disconnect", "unsubscribe") or (action == "unsubscribe" and not channel):
            self.message_user(
                request, "Select connections and an action (and a channel to unsubscribe from).", messages.WARNING
            )
        else:
            try:
                self._carry_out(request, action, clients, channel)
            except CommandError as error:
                self.message_user(request, f"This cannot be done: {error.message}.", messages.ERROR)
            except StoreUnavailable as error:
                self.message_user(request, f"Redis does not answer: {error}", messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def _carry_out(self, request: HttpRequest, action: str, clients: list[str], channel: str) -> None:
        hit = 0
        for client in clients:
            about = connections(client=client, limit=1).rows
            if action == "disconnect":
                done, words = disconnect(client=client), "Disconnected (3503)."
            else:
                done, words = unsubscribe(None, channel, client=client), f"Unsubscribed from {channel} (2000)."
            hit += done.hit
            if done.hit:
                self._note(request, client, about, words)
        what = "connections ended" if action == "disconnect" else "subscriptions ended"
        self.message_user(request, f"{hit} {what}.", messages.SUCCESS if hit else messages.WARNING)

    @staticmethod
    def _note(request: HttpRequest, client: str, about: list[dict[str, Any]], words: str) -> None:
        """Who did what to whom, in the admin's log."""
        whom = f"{about[0]['user'] or 'a visitor'} at {about[0]['address']}" if about else client
        LogEntry.objects.create(
            user=cast(User, request.user),
            content_type=ContentType.objects.get_for_model(Connection),
            object_id=client,
            object_repr=whom[:200],
            action_flag=CHANGE,
            change_message=words,
        )


def _page(query: QueryDict) -> tuple[ConnectionPage, str]:
    """The page that is asked for, and why there is none."""
    user = query.get("user", "")
    try:
        page = connections(
            user or None,
            channel=query.get("channel", ""),
            text=query.get("q", ""),
            after=query.get("after", ""),
            limit=PAGE,
        )
    except StoreUnavailable as error:
        return NOTHING, f"Redis does not answer: {error}"
    for row in page.rows:
        row["since"] = datetime.fromtimestamp(row["since"], UTC)
    return page, ""
