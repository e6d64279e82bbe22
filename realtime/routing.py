"""Where WebSocket connections go."""

from channels.routing import URLRouter
from django.urls import path

from realtime.consumers import ConnectionConsumer

websocket_urlpatterns = [path("connection/websocket", ConnectionConsumer.as_asgi())]  # type: ignore[arg-type]

application = URLRouter(websocket_urlpatterns)
