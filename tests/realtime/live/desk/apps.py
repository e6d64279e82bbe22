"""A project's app with models that are shown live, for the tests."""

from django.apps import AppConfig

from flotilla.realtime.conf import ChannelOptions, provide_namespace


class DeskConfig(AppConfig):
    name = "tests.realtime.live.desk"
    label = "desk"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        options = ChannelOptions(history_size=100, history_ttl=3600, force_recovery=True)
        for name in ("board", "task", "ticket", "author", "shelf", "tickets"):  # the last is of examples/board
            provide_namespace(name, options)
