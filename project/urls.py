"""Django's URLs. Health is answered before Django (`monitoring.urls`), the WebSocket beside it (`realtime.routing`)."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("realtime.api.urls")),
    path("", include("realtime.urls")),
]
if settings.FLOTILLA_DEMO:
    urlpatterns.insert(0, path("rooms/", include("examples.rooms.urls")))
