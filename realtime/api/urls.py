"""`api/<method>`, without a trailing slash."""

from django.urls import path

from realtime.api.views import call

urlpatterns = [path("api/<str:method>", call, name="realtime_api")]
