"""The project as an ASGI application."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")

from django.core.asgi import get_asgi_application

import flotilla

application = flotilla.asgi(get_asgi_application())
