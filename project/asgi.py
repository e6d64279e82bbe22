"""The ASGI application: Django and the platform (`flotilla.asgi`), and nothing outside of the root path.

Importing this module sets Django up and refuses to start with a wrong configuration.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from django.conf import settings
from django.core.asgi import get_asgi_application

import flotilla
from flotilla.realtime.server.private_files import private_tree

django_application = get_asgi_application()

from project.checks import refuse_faults  # noqa: E402
from project.subpath import below_root  # noqa: E402

refuse_faults()
if settings.VAR_DIR.is_dir():
    private_tree(settings.VAR_DIR)

application = below_root(flotilla.asgi(django_application))
