"""`api/<method>`, without a trailing slash."""

from django.urls import path

from flotilla.realtime.api.views import call, openapi

urlpatterns = [
    path("api/openapi.json", openapi, name="realtime_openapi"),
    path("api/<str:method>", call, name="realtime_api"),
]
