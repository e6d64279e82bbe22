"""The project as an ASGI application."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from flotilla.realtime.routing import websocket  # noqa: E402

application = ProtocolTypeRouter({"http": django_application, "websocket": websocket})
