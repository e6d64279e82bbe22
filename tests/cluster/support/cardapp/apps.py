"""The app of the proofs of live data."""

from django.apps import AppConfig


class CardAppConfig(AppConfig):
    """The app."""

    name = "tests.cluster.support.cardapp"
    label = "cardapp"
    default_auto_field = "django.db.models.BigAutoField"
