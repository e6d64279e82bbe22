"""The Django app `presence`."""

from django.apps import AppConfig


class PresenceConfig(AppConfig):
    """Names the app; it has no models: the truth is in Redis."""

    name = "flotilla.presence"
    label = "flotilla_presence"
    verbose_name = "Presence"
