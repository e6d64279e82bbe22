"""Django's URLs. Health and the WebSocket are answered before Django (`flotilla.asgi`)."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from flotilla.error_handlers import handler400, handler403, handler404, handler500  # noqa: F401

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("flotilla.urls")),
    path("", include("examples.demo.urls")),
]
if settings.FLOTILLA_DEMO:
    urlpatterns[:0] = [
        path("rooms/", include("examples.rooms.urls")),
        path("notices/", include("examples.notices.urls")),
        path("board/", include("examples.board.urls")),
    ]
