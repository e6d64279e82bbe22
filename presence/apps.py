"""The Django app `presence`."""

from django.apps import AppConfig


class PresenceConfig(AppConfig):
    """Names the app; it has no models: the truth is in Redis."""

    name = "presence"
    verbose_name = "Presence"
