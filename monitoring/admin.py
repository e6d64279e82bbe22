"""The admin's page “Cluster”: live figures of every instance, for staff alone.

The page itself holds no figures: those of the last hour are asked for once (`?history`), and the newest come over the
platform's own WebSocket (`flotilla.monitoring.live_figures`). So there is something to look at without Grafana.
"""

from typing import Any

import msgspec
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import get_script_prefix
from django.utils.timezone import get_current_timezone_name

from flotilla.monitoring import figure_history
from flotilla.monitoring.live_figures import CHANNEL, EVERY
from flotilla.monitoring.models import Cluster
from flotilla.realtime.admin.base import Tableless
from flotilla.realtime.api.publishing import broker
from flotilla.store import StoreUnavailable


@admin.register(Cluster)
class ClusterAdmin(Tableless):
    """One page to look at."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _staff(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _staff(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The page; the figures of the last hour as JSON (`?history`)."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if "history" in request.GET:
            return _history()
        context = self.admin_site.each_context(request) | {
            "title": "Cluster",
            "opts": self.model._meta,
            "channel": CHANNEL,
            "websocket_path": f"{get_script_prefix()}connection/websocket",
            "every": EVERY,
            "sampled": figure_history.EVERY,
            "zone": get_current_timezone_name(),
        }
        return TemplateResponse(request, "admin/monitoring/cluster.html", context)


def _history() -> HttpResponse:
    try:
        found = figure_history.table(figure_history.read(broker()))
    except StoreUnavailable as error:
        return JsonResponse({"error": f"Redis does not answer: {error}"}, status=503)
    return HttpResponse(msgspec.json.encode(found), content_type="application/json")


def _staff(request: HttpRequest) -> bool:
    return bool(request.user.is_active and getattr(request.user, "is_staff", False))
