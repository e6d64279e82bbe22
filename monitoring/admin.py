"""The admin's page “Cluster”: live figures of every instance, for staff alone.

The page itself holds no figures: they come over the platform's own WebSocket (`flotilla.monitoring.live_figures`). So
there is something to look at where there is no Grafana.
"""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import get_script_prefix

from flotilla.monitoring.live_figures import CHANNEL, EVERY
from flotilla.monitoring.models import Cluster
from flotilla.realtime.admin.base import Tableless


@admin.register(Cluster)
class ClusterAdmin(Tableless):
    """One page to look at."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _staff(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _staff(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The page."""
        context = self.admin_site.each_context(request) | {
            "title": "Cluster",
            "opts": self.model._meta,
            "channel": CHANNEL,
            "websocket_path": f"{get_script_prefix()}connection/websocket",
            "every": EVERY,
        }
        return TemplateResponse(request, "admin/monitoring/cluster.html", context)


def _staff(request: HttpRequest) -> bool:
    return bool(request.user.is_active and getattr(request.user, "is_staff", False))
