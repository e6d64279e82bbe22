"""System checks of what is counted: a middleware that counts nothing is named, with what to install."""

from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

from flotilla._extras import MissingExtra

MIDDLEWARE = "flotilla.monitoring.middleware."


@register("flotilla_monitoring")
def check_requests_are_counted(**_: Any) -> list[CheckMessage]:
    """W002: the middleware that counts requests is set, and django-prometheus, which it counts with, is not there."""
    counted = find_spec("django_prometheus") is not None
    if counted or not any(name.startswith(MIDDLEWARE) for name in settings.MIDDLEWARE):
        return []
    missing = MissingExtra("flotilla.monitoring.middleware", "metrics", "django-prometheus")
    hint = "Install it, or take the middleware out of MIDDLEWARE: it does nothing."
    return [Warning(f"HTTP requests are not counted: {missing}.", hint=hint, id="flotilla_monitoring.W002")]
