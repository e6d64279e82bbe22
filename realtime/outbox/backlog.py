"""How much an outbox holds back: the rows that wait, since when the first of them does, and those set aside.

Every instance looks now and then, whether or not it relays, so that it is known when nobody does. Both questions are
answered by an index, and neither counts further than MOST: what a look costs does not grow with the table.
"""

from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, connections, router, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.order import GIVEN_BY_DATABASE

MOST = 10_000  # rows counted: so many stand for so many or more
NO_DATABASE = "django.db.backends.dummy"
WITHIN = 2.0  # seconds a look may take where the database can be told so


@dataclass(frozen=True, slots=True)
class Backlog:
    """Of one database: rows that wait, for how many seconds the first of them has (0: none waits), rows set aside."""

    waiting: int
    oldest: float
    set_aside: int


def databases() -> list[str]:
    """The databases in which the project lets the outbox's table be, the default one first."""
    allowed = [
        using
        for using in connections
        if connections.settings[using]["ENGINE"] != NO_DATABASE and router.allow_migrate_model(using, OutboxRow)
    ]
    return sorted(allowed, key=lambda using: using != DEFAULT_DB_ALIAS)


def has_outbox(using: str) -> bool:
    """Whether a database has the table. May raise DatabaseError."""
    connection = connections[using]
    with connection.cursor() as cursor:
        return OutboxRow._meta.db_table in connection.introspection.table_names(cursor)


def why_not_relayed(using: str) -> str:
    """Why nobody can relay a database's outbox now, "" when one can. May raise DatabaseError."""
    if not has_outbox(using):
        return "it has no outbox to relay (`manage.py migrate` makes one)"
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            if cursor.fetchone() == ("on",):
                return "it takes no writes, as a replica: its outbox is relayed where it is written"
    return ""


def waiting_rows(using: str) -> QuerySet[OutboxRow]:
    """The rows that were committed and are still to be sent, in the order in which they will be."""
    found = OutboxRow.objects.using(using).filter(sent_at__isnull=True, failed_at__isnull=True).order_by("position")
    if connections[using].vendor in GIVEN_BY_DATABASE:  # elsewhere a row has none before somebody relays
        found = found.filter(position__isnull=False)
    return found


def rows_set_aside(using: str) -> QuerySet[OutboxRow]:
    """The rows that could not be sent, the newest first."""
    return OutboxRow.objects.using(using).filter(failed_at__isnull=False).order_by("-failed_at", "-id")


def backlog(using: str) -> Backlog:
    """What this database's outbox holds back now. May raise DatabaseError."""
    with transaction.atomic(using):
        _bound(using)
        waiting = waiting_rows(using)[:MOST].count()
        first = waiting_rows(using).values_list("written_at", Now()).first() if waiting else None
        set_aside = rows_set_aside(using)[:MOST].count()
    oldest = max(0.0, (first[1] - first[0]).total_seconds()) if first is not None else 0.0  # by the database's clock
    return Backlog(waiting, oldest, set_aside)


def _bound(using: str) -> None:
    """Where a database can be told so, it gives up a query that takes too long."""
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {int(WITHIN * 1000)}")
