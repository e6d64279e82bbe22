"""Personal limits: a user, a group or an API key for whom a policy has another rate, or none.

API keys are kept as digests, so that whoever reads the database cannot use them. How processes learn of a change is
decided in `changes` and `background`.
"""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from flotilla.ratelimit.algorithms.rates import MEND, parse_rate


def check_rate(value: str) -> None:
    """Validate a rate as people write it."""
    try:
        parse_rate(value)
    except ValueError as error:
        raise ValidationError(f"{error}. {MEND}") from None


class PersonalLimit(models.Model):
    """One override. Exactly one of `user`, `group` and `key_digest` is set."""

    policy = models.CharField(max_length=64, help_text="The policy's name in the settings.")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+")
    group = models.ForeignKey(Group, models.CASCADE, null=True, blank=True, related_name="+")
    key_digest = models.CharField("API key", max_length=32, blank=True, default="")
    exempt = models.BooleanField(default=False, help_text="No limit at all, instead of another rate.")
    rate = models.CharField(max_length=64, blank=True, default="", validators=[check_rate], help_text=MEND)
    note = models.CharField(max_length=200, blank=True, default="", help_text="The reason, for other staff.")
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "ratelimit_personallimit"  # as it was before the app's label had the platform's name
        verbose_name = "personal limit"
        ordering = ("policy", "pk")
        constraints = [
            models.CheckConstraint(
                name="ratelimit_one_subject",
                condition=Q(user__isnull=False, group__isnull=True, key_digest="")
                | Q(user__isnull=True, group__isnull=False, key_digest="")
                | (Q(user__isnull=True, group__isnull=True) & ~Q(key_digest="")),
                violation_error_message="Choose one: a user, a group or an API key.",
            ),
            models.UniqueConstraint(
                name="ratelimit_one_per_user", fields=["policy", "user"], condition=Q(user__isnull=False)
            ),
            models.UniqueConstraint(
                name="ratelimit_one_per_group", fields=["policy", "group"], condition=Q(group__isnull=False)
            ),
            models.UniqueConstraint(
                name="ratelimit_one_per_key", fields=["policy", "key_digest"], condition=~Q(key_digest="")
            ),
        ]

    def __str__(self) -> str:
        subject = self.user or self.group or f"API key {self.key_digest[:8]}…"
        return f"{self.policy}: {subject}, {'exempt' if self.exempt else self.rate}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """As any model; a rate that cannot be read is refused here too, because every request would meet it."""
        if not self.exempt:
            check_rate(self.rate)
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """A rate or an exemption, not both."""
        if self.exempt == bool(self.rate):
            raise ValidationError("Give a rate, or tick exempt.")
