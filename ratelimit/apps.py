"""The Django app `ratelimit`."""

from django.apps import AppConfig


class RateLimitConfig(AppConfig):
    """Names the app."""

    name = "ratelimit"
    verbose_name = "Rate limits"
