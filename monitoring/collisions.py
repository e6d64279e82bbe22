"""System checks of monitoring: whether the project's own URLs have the paths of the health checks, too."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, register

from flotilla.realtime.collisions import path_collisions

PATHS = ("/health/live", "/health/ready")

HINT = 'Give your own view another path, or ours: flotilla.asgi(…, health="/flotilla/health/"), and silence this.'


@register("flotilla_names")
def check_health_paths(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """They are answered before Django."""
    return list(path_collisions(PATHS, hint=HINT)) if getattr(settings, "ROOT_URLCONF", None) else []
