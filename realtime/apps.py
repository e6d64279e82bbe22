"""The Django app of the real-time core; on start it registers the system checks and begins to watch for changes."""

import sys

from django.apps import AppConfig
from django.core.signals import request_finished, request_started
from django.utils.module_loading import autodiscover_modules

from flotilla.store import test_run


class RealtimeAppConfig(AppConfig):
    """Flotilla's face towards Django."""

    name = "flotilla.realtime"
    label = "flotilla_realtime"
    verbose_name = "Flotilla"  # as of all our apps that have pages: one group in the admin
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import what registers itself, and say where limits are configured besides settings.RATE_LIMITS."""
        if sys.argv[1:2] == ["test"]:  # `manage.py test`, and the processes that it starts
            test_run.begin()
        from flotilla.ratelimit.service import Source, set_source
        from flotilla.realtime import changes, checks, collisions, traces  # noqa: F401
        from flotilla.realtime.conf import get_config
        from flotilla.realtime.live import checks as live_checks  # noqa: F401
        from flotilla.realtime.live import renderer, watch
        from flotilla.realtime.outbox import renderers
        from flotilla.realtime.server.signals import on_end
        from flotilla.store import patience

        changes.connect()
        autodiscover_modules("live")  # before the watch: what a project shows there is watched with the rest
        watch.ready()
        renderers.use(renderer.render)
        request_started.connect(patience.begin, dispatch_uid="flotilla.store.patience")
        request_finished.connect(patience.end, dispatch_uid="flotilla.store.patience")
        on_end.connect(traces.close, dispatch_uid="flotilla.realtime.traces")
        set_source(Source(lambda: get_config().rate_limits, lambda: get_config().namespaces))
