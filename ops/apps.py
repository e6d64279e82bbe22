"""The Django app `ops`: it brings the commands `loadtest`, `check_alerts` and `prove_dashboards`."""

from django.apps import AppConfig


class OpsConfig(AppConfig):
    """Names the app; it has no models."""

    name = "flotilla.ops"
    label = "flotilla_ops"
    verbose_name = "Operations"
