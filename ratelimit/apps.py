"""The Django app `ratelimit`: registers its checks, and follows the changes that personal limits depend on."""

from typing import Any

from django.apps import AppConfig


class RateLimitConfig(AppConfig):
    """Names the app, and has changes announced that personal limits depend on."""

    name = "flotilla.ratelimit"
    label = "flotilla_ratelimit"
    verbose_name = "Flotilla"  # as of all our apps that have pages: one group in the admin
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the modules that register themselves, and connect the signals of changes."""
        from django.contrib.auth import get_user_model
        from django.db.models.signals import m2m_changed, post_delete, post_save

        from flotilla.ratelimit import changes, checks  # noqa: F401
        from flotilla.ratelimit.personal import has_groups
        from flotilla.ratelimit.service import current_limits
        from flotilla.store import test_run

        test_run.also.append(lambda: [limits.limiter.sync_shard] if (limits := current_limits()) else [])
        limit = self.get_model("PersonalLimit")
        for signal in (post_save, post_delete):
            signal.connect(changes.changed, sender=limit, dispatch_uid="ratelimit.limit")
        groups: Any = get_user_model()._meta.get_field("groups") if has_groups() else None
        if groups is not None:
            m2m_changed.connect(changes.changed, sender=groups.remote_field.through, dispatch_uid="ratelimit.groups")
