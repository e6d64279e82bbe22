"""Rows that were set aside, because they could not be sent: try them again, or give them up.

A row that is tried again comes behind all that was written since, as if it were written now: what followed it was sent
already. A live model's row is then rendered from what the database has by that time, so that an old state never
replaces a newer one.
"""

from collections.abc import Collection, Iterable

from django.db import transaction

from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.wake import writing

MAX = 1000  # rows in one call
_KEPT = ("channel", "key", "operation", "live", "body", "keywords", "once")


def retry(ids: Collection[int], *, using: str) -> int:
    """Have rows that were set aside sent after all that waits; returns how many there were. Others are left alone."""
    with transaction.atomic(using=using):
        found = _taken(ids, using)
        OutboxRow.objects.using(using).filter(pk__in=[row.pk for row in found]).delete()
        writing(using)  # wakes a relay after the commit
        OutboxRow.objects.using(using).bulk_create(_again(found))
    return len(found)


def drop(ids: Collection[int], *, using: str) -> int:
    """Give up rows that were set aside; returns how many there were. Others are left alone."""
    with transaction.atomic(using=using):
        found = _taken(ids, using)
        OutboxRow.objects.using(using).filter(pk__in=[row.pk for row in found]).delete()
    return len(found)


def _taken(ids: Collection[int], using: str) -> list[OutboxRow]:
    """The rows, which nobody else tries or drops meanwhile. Raises ValueError for too many."""
    if len(ids) > MAX:
        raise ValueError(f"at most {MAX} rows in one call, not {len(ids)}")
    rows = OutboxRow.objects.using(using).select_for_update().filter(pk__in=ids, failed_at__isnull=False)
    return list(rows.order_by("position", "pk"))


def _again(rows: Iterable[OutboxRow]) -> Iterable[OutboxRow]:
    """What is written anew: of the rows of a live model that have one key, one that is rendered when it is sent."""
    fresh: dict[object, OutboxRow] = {}
    for row in rows:
        one = OutboxRow(**{name: getattr(row, name) for name in _KEPT})
        if row.key:
            one.operation, one.body = "set", None
        fresh[(row.channel, row.key) if row.key else row.pk] = one
    return fresh.values()
