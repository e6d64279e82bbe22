"""The ASGI application: the stack, outermost first.

    http       /health/… (whatever the Host header says, and without a database thread) → Django
    websocket  /connection/websocket → realtime; any other path is refused
    lifespan   starts and drains the node under servers that speak it (Daphne does not)

Importing this module sets Django up and refuses to start with a wrong configuration.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.conf import settings  # noqa: E402
from django.urls import re_path  # noqa: E402

from monitoring.urls import urlpatterns as health_urlpatterns  # noqa: E402
from project.checks import refuse_faults  # noqa: E402
from project.lifespan import lifespan  # noqa: E402
from realtime.routing import websocket  # noqa: E402
from realtime.server.private import private_tree  # noqa: E402

refuse_faults()
if settings.VAR_DIR.is_dir():
    private_tree(settings.VAR_DIR)

application = ProtocolTypeRouter(
    {
        "http": URLRouter([*health_urlpatterns, re_path("", django_application)]),  # type: ignore[arg-type]
        "websocket": websocket,
        "lifespan": lifespan,
    }
)
