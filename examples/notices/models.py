"""Notices. Whatever changes one says so to its recipient's pages, in the transaction that changes it."""

from typing import Any

from django.conf import settings
from django.db import models, transaction

from flotilla import publish


class Notice(models.Model):
    """Something that somebody should know."""

    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notices")
    text = models.CharField(max_length=200)
    at = models.DateTimeField(auto_now_add=True)
    is_read = models.BooleanField(default=False)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["recipient", "is_read"])]

    def __str__(self) -> str:
        return self.text

    def save(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():  # the notice and what is said of it: both, or neither
            super().save(*args, **options)
            changed(self.recipient_id)


def mark_read(user: Any, notice: str) -> None:
    """One of a user's notices, by its key, or all where no key is given."""
    unread = Notice.objects.filter(recipient=user, is_read=False)
    with transaction.atomic():
        if (unread.filter(pk=notice) if notice else unread).update(is_read=True):
            changed(user)


def changed(user: Any) -> None:
    """Let a user's pages ask again. Nothing is lost with Redis away: it is sent once, when there is one."""
    publish(f"notices:#{user}", {}, durable=True)
