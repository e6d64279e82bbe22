"""Which order rows have, and who gives it: `position` orders the rows of a channel (docs/decisions/0052).

PostgreSQL: a constraint trigger gives positions at the end of a transaction, under a lock for each channel that is held
until the commit is seen by all. Positions of a channel are in the order of commits. SQLite: one transaction writes at a
time, and a row's position is its id; the order of commits again. Elsewhere (`give_positions`) it is the order in which
rows were written, and no row is passed over for one that was committed first.
The triggers are made by the migration 0003, for rows that come in SQL as well.
"""

from django.db import connections, transaction
from django.db.models import F

from flotilla.realtime.models import OutboxRow

GIVEN_BY_DATABASE = ("postgresql", "sqlite")
TABLE = OutboxRow._meta.db_table
PAGE = 1000
WAKE = TABLE
"""What PostgreSQL notifies when rows were committed, while a relay sleeps."""
LIE_DOWN = "SELECT pg_try_advisory_lock(1179406166, 'flotilla_outbox_commit'::regclass::oid::integer)"
RISE = "SELECT pg_advisory_unlock(1179406166, 'flotilla_outbox_commit'::regclass::oid::integer)"
"""A relay on PostgreSQL sleeps while it holds this lock, and whoever commits meanwhile notifies it. It can have the
lock only when all who did not notify have committed: so it looks once more when it has it, and misses nobody."""


def give_positions_now(using: str) -> None:
    """Have the current transaction's rows in their positions before it is committed, as tests need it, whose
    transactions never are. Others that write into the same channels wait for its end."""
    connection = connections[using]
    if connection.vendor == "postgresql" and connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS flotilla_outbox_commit IMMEDIATE")
            cursor.execute("SET CONSTRAINTS flotilla_outbox_commit DEFERRED")


def give_positions(using: str) -> None:
    """Have rows that were committed in positions, before a relay reads: that is its id where no trigger gives one.

    The reading that locks waits for rows before them whose transaction goes on, so that none of them is passed over.
    (Not an UPDATE at once: InnoDB may read semi-consistently there, which passes them over.)
    """
    if connections[using].vendor in GIVEN_BY_DATABASE:
        return
    known = OutboxRow.objects.using(using)
    with transaction.atomic(using=using):
        new = known.filter(position=None).order_by("id").select_for_update()
        if ids := list(new.values_list("id", flat=True)[:PAGE]):
            known.filter(pk__in=ids).update(position=F("id"))
