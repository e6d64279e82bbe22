"""Django's URLs. Health is answered before Django (`flotilla.monitoring.urls`), the WebSocket is beside it
(`flotilla.realtime.routing`)."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("flotilla.realtime.api.urls")),
    path("", include("examples.demo.urls")),
]
if settings.FLOTILLA_DEMO:
    urlpatterns.insert(0, path("rooms/", include("examples.rooms.urls")))
