"""The Django app `monitoring`; it watches the process that serves, and serves its metrics."""

from importlib import import_module

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """Connects the exporter to the process that serves."""

    name = "flotilla.monitoring"
    label = "flotilla_monitoring"
    verbose_name = "Flotilla"  # as of all our apps that have pages: one group in the admin
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Nothing is opened here: management commands load the apps as well."""
        from flotilla.monitoring import checks, durations, exporter, limits, metrics, node_told, traffic  # noqa: F401
        from flotilla.monitoring.certificates import certificate_watch
        from flotilla.monitoring.health import watch
        from flotilla.monitoring.live_figures import NAMESPACE, OPTIONS, publisher
        from flotilla.monitoring.memory import memory_watch
        from flotilla.monitoring.outbox import outbox_watch
        from flotilla.realtime.conf import provide_namespace
        from flotilla.realtime.server.signals import on_boot, on_drain, on_end

        import_module("flotilla.monitoring.collisions")  # a check of the project's paths
        metrics.register()
        limits.register()
        durations.register()
        traffic.register()
        provide_namespace(NAMESPACE, OPTIONS)
        on_boot.connect(watch.start, dispatch_uid="monitoring.watch")
        on_boot.connect(memory_watch.start, dispatch_uid="flotilla.monitoring.memory")
        on_boot.connect(certificate_watch.start, dispatch_uid="flotilla.monitoring.certificates")
        on_boot.connect(outbox_watch.start, dispatch_uid="flotilla.monitoring.outbox")
        on_boot.connect(publisher.start, dispatch_uid="flotilla.monitoring.live_figures")
        on_boot.connect(exporter.open_port, dispatch_uid="flotilla.monitoring.exporter")
        on_drain.connect(publisher.stop, dispatch_uid="flotilla.monitoring.live_figures")
        on_drain.connect(outbox_watch.stop, dispatch_uid="flotilla.monitoring.outbox")
        on_drain.connect(certificate_watch.stop, dispatch_uid="flotilla.monitoring.certificates")
        on_drain.connect(memory_watch.stop, dispatch_uid="flotilla.monitoring.memory")
        on_drain.connect(watch.stop, dispatch_uid="monitoring.watch")
        on_drain.connect(node_told.keep_node, dispatch_uid="flotilla.monitoring.node_told")
        on_drain.connect(exporter.begin_drain, dispatch_uid="flotilla.monitoring.exporter")
        on_end.connect(exporter.end, dispatch_uid="flotilla.monitoring.exporter")
