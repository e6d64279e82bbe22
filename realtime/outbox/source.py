"""Whose positions the rows of a database have: its source, and how a database that was restored is noticed.

A database that comes back older gives positions again that Redis has seen, and Redis would take new rows for repeats.
So Redis keeps for each source how far its relay was: the number of its batch and its highest position. The database
counts the batches that were noted, and at most one was sent and not noted. Where Redis knows of more, the database
was restored: its source gets another name, and positions go on above those that were seen, because they are also the
versions of live models.
"""

import logging
from dataclasses import dataclass

from django.db import connections, transaction
from django.db.models import Max

from flotilla.realtime.models import OutboxRelay, OutboxRow
from flotilla.realtime.outbox.lease import new_source
from flotilla.store import Shard, reading, whole_placement

logger = logging.getLogger("flotilla.outbox")

SEQUENCE = "flotilla_outbox_position"
_TABLE = OutboxRow._meta.db_table


@dataclass(frozen=True, slots=True)
class Source:
    """Its name, and after which position its own rows begin: those before are of a database that was restored."""

    name: str
    since: int


def current(using: str, first: Shard) -> Source:
    """The source of a database, another one where the database was restored. May raise DatabaseError, StoreUnavailable.

    The caller holds the lease.
    """
    row = OutboxRelay.objects.using(using).get()
    answer = first.execute_sync("HMGET", _key(row.source), "batch", "position")
    with reading("how far a relay was"):
        batch, highest = (int(value or 0) for value in answer)
    if batch <= row.batches + 1 and highest <= _given(using):
        return Source(row.source, row.since)
    with transaction.atomic(using=using):
        row.source, row.since = new_source(), _go_on_above(using, highest)
        row.batches = max(row.batches, batch)
        row.save(update_fields=["source", "since", "batches"])
    logger.warning(
        "the database %s is older than what was sent from it: positions of its outbox go on above %d", using, row.since
    )
    return Source(row.source, row.since)


def note(source: Source, first: Shard, batch: int, highest: int) -> None:
    """This batch is about to be sent, up to this position. May raise StoreUnavailable."""
    first.execute_sync("HSET", _key(source.name), "batch", batch, "position", highest)


def _key(source: str) -> str:
    return whole_placement("outbox").key(f"relayed-{source}")


def _given(using: str) -> int:
    """The highest position that the database has given."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        return _number(using, f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {SEQUENCE}")
    if connection.vendor == "sqlite":
        return _number(using, f"SELECT seq FROM sqlite_sequence WHERE name = '{_TABLE}'")
    return int(OutboxRow.objects.using(using).aggregate(highest=Max("position"))["highest"] or 0)


def _go_on_above(using: str, highest: int) -> int:
    """Have positions go on above this one and all that were given; returns the last that was."""
    last = max(highest, _given(using))
    connection = connections[using]
    if last and connection.vendor == "postgresql":
        _number(using, f"SELECT setval('{SEQUENCE}', {last})")
    elif connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE sqlite_sequence SET seq = {last} WHERE name = '{_TABLE}'")
    return last


def _number(using: str, question: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute(question)
        row = cursor.fetchone()
        return int(row[0]) if row else 0
