"""`api/<method>`, without a trailing slash; and for pages `flotilla/token/`, and `flotilla/state/<channel>` and
`flotilla/fragment/<channel>`."""

from django.urls import path

from flotilla.realtime.api.fragment_endpoint import fragment
from flotilla.realtime.api.state_endpoint import state
from flotilla.realtime.api.token_endpoint import token
from flotilla.realtime.api.views import call, openapi

urlpatterns = [
    path("api/openapi.json", openapi, name="realtime_openapi"),
    path("api/<str:method>", call, name="realtime_api"),
    path("flotilla/fragment/<path:channel>", fragment, name="flotilla_fragment"),
    path("flotilla/state/<path:channel>", state, name="flotilla_state"),
    path("flotilla/token/", token, name="flotilla_token"),
]
