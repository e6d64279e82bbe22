"""What the platform answers over HTTP: `path("", include("flotilla.urls"))` in a project's URLs.

    api/<method>, api/openapi.json    the HTTP API
    flotilla/state/<channel>          the rows that live models show in a channel, for who may subscribe to it
    flotilla/fragment/<channel>       the same rows as HTML, for pages with `{% live %}`
    flotilla/token/                   tokens for the SDKs of users who are logged in
    health/live, health/ready         for processes whose ASGI application is not made by `flotilla.asgi`, which answers
                                      them earlier

Included below a path, all of it is below that path.
"""

from django.urls import include, path

from flotilla.monitoring.views import live, ready

urlpatterns = [
    path("", include("flotilla.realtime.api.urls")),
    path("health/live", live, name="flotilla_health_live"),
    path("health/ready", ready, name="flotilla_health_ready"),
]
