"""The ASGI application: the stack, outermost first.

    http       /health/… (whatever the Host header says, and without a database thread) → /connection/websocket (a
               handshake that lost its upgrade) → the API's keys, before a body is read → Django
    websocket  /connection/websocket → realtime; any other path is refused
    lifespan   starts and drains the node (a stock Daphne does not speak it)

Importing this module sets Django up and refuses to start with a wrong configuration.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.conf import settings  # noqa: E402
from django.urls import re_path  # noqa: E402

from flotilla.monitoring.urls import urlpatterns as health_urlpatterns  # noqa: E402
from flotilla.realtime.api.bodies import unread_without_key  # noqa: E402
from flotilla.realtime.lifespan import lifespan  # noqa: E402
from flotilla.realtime.routing import http_urlpatterns, websocket  # noqa: E402
from flotilla.realtime.server.private_files import private_tree  # noqa: E402
from project.checks import refuse_faults  # noqa: E402
from project.subpath import below_root  # noqa: E402

refuse_faults()
if settings.VAR_DIR.is_dir():
    private_tree(settings.VAR_DIR)

http = [*health_urlpatterns, *http_urlpatterns, re_path("", unread_without_key(django_application))]
application = ProtocolTypeRouter(
    {
        "http": below_root(URLRouter(http)),
        "websocket": below_root(websocket),
        "lifespan": lifespan,
    }
)
