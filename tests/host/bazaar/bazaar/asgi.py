import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bazaar.settings.production")
django_application = get_asgi_application()

from chat.routing import websocket  # noqa: E402

application = ProtocolTypeRouter({"http": django_application, "websocket": websocket})
