"""The URLs of the platform: `path("", include("flotilla.urls"))` in a project's own."""

from django.urls import include, path

from flotilla.realtime.api.token_endpoint import token

urlpatterns = [
    path("flotilla/token/", token, name="flotilla_token"),
    path("", include("flotilla.realtime.api.urls")),
]
