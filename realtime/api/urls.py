"""`api/<method>`, without a trailing slash; and `flotilla/token/`, for pages."""

from django.urls import path

from flotilla.realtime.api.token_endpoint import token
from flotilla.realtime.api.views import call, openapi

urlpatterns = [
    path("api/openapi.json", openapi, name="realtime_openapi"),
    path("api/<str:method>", call, name="realtime_api"),
    path("flotilla/token/", token, name="flotilla_token"),
]
