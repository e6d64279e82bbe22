"""The Django app of the real-time core; on start it registers the system checks and begins to watch for changes."""

from django.apps import AppConfig
from django.core.signals import request_started


class RealtimeAppConfig(AppConfig):
    """Flotilla's face towards Django."""

    name = "flotilla.realtime"
    label = "flotilla_realtime"
    verbose_name = "Real-time"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import what registers itself, and say where limits are configured besides settings.RATE_LIMITS."""
        from flotilla.ratelimit.service import Source, set_source
        from flotilla.realtime import changes, checks  # noqa: F401
        from flotilla.realtime.conf import get_config
        from flotilla.store import patience

        changes.connect()
        request_started.connect(patience.begin, dispatch_uid="flotilla.store.patience")
        set_source(Source(lambda: get_config().rate_limits, lambda: get_config().namespaces))
