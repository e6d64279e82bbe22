"""The Django app of the real-time core; on start it registers the system checks."""

from django.apps import AppConfig


class RealtimeAppConfig(AppConfig):
    """Flotilla's face towards Django."""

    name = "realtime"
    verbose_name = "Real-time"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import what registers itself."""
        from realtime import checks  # noqa: F401
