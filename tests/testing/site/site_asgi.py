"""The project as an ASGI application."""

import os

from django.core.asgi import get_asgi_application

import flotilla

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
application = flotilla.asgi(get_asgi_application())
