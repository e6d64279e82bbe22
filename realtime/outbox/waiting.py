"""The rows that wait: read in order, a bounded batch at a time; and noted when they were sent, or could not be.

A batch comes from one look at the table, so that of each channel it has the first rows that wait, without a gap. Rows
of channels that are held up are passed over, so many at most.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Length
from django.utils import timezone

from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.backlog import waiting_rows
from flotilla.realtime.outbox.order import give_positions

MAX_ROWS = 500  # in a batch
MAX_BYTES = 4 * 1024 * 1024  # of bodies in a batch; one row may have more
MAX_PASSED = 50_000  # rows of channels that are held up, which a look passes over; what is behind them waits
CHUNK = 2000
_TABLE = OutboxRow._meta.db_table
_COLUMNS = (
    *("id", "channel", "position", "key", "operation", "live", "body", "keywords", "written_at", "epoch", "attempts"),
)


@dataclass(slots=True)
class Row:
    """A row that waits. `epoch` is "" unless it was sent before, into a stream that is lost."""

    id: int
    channel: str
    position: int
    key: str
    operation: str
    live: str
    body: bytes | None
    keywords: Any  # a JSON object, unless SQL wrote something else
    written_at: datetime
    epoch: str
    attempts: int


class Sent(NamedTuple):
    """A row that is in Redis."""

    id: int
    epoch: str
    offset: int


def read(using: str, is_held: Callable[[str], bool], *, any_held: bool) -> list[Row]:
    """The next batch: the first rows that wait, without those of channels that are held up."""
    give_positions(using)
    chosen = _choose(using, is_held, any_held=any_held)
    found = OutboxRow.objects.using(using).filter(pk__in=chosen, sent_at__isnull=True, failed_at__isnull=True)
    return [_row(*values) for values in found.order_by("position").values_list(*_COLUMNS)]


def waits(using: str) -> bool:
    """Whether any row does."""
    give_positions(using)
    return _waiting(using).exists()


def note_sent(using: str, rows: Sequence[Sent]) -> None:
    """Note that rows are in Redis. The offset is 0 where it is not known: of a repeat, and without history."""
    if not rows:
        return
    connection = connections[using]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                _NOTE_ALL, [[row.id for row in rows], [row.epoch for row in rows], [row.offset for row in rows]]
            )
            return
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        offset = connection.ops.quote_name("offset")
        statement = f"UPDATE {_TABLE} SET sent_at = %s, epoch = %s, {offset} = %s, error = '' WHERE id = %s"
        cursor.executemany(statement, [(now, row.epoch, row.offset, row.id) for row in rows])


def note_failed(using: str, row: Row, error: str, *, set_aside: bool) -> None:
    """Note an attempt that failed: the last one sets the row aside."""
    OutboxRow.objects.using(using).filter(pk=row.id).update(
        attempts=row.attempts + 1, error=error[:500], failed_at=timezone.now() if set_aside else None
    )


_NOTE_ALL = f"""UPDATE {_TABLE} SET sent_at = clock_timestamp(), epoch = new.epoch, "offset" = new.place, error = ''
FROM (SELECT unnest(%s::bigint[]) AS id, unnest(%s::text[]) AS epoch, unnest(%s::bigint[]) AS place) AS new
WHERE {_TABLE}.id = new.id"""


def _waiting(using: str) -> QuerySet[OutboxRow]:
    return waiting_rows(using).filter(position__isnull=False)


def _choose(using: str, is_held: Callable[[str], bool], *, any_held: bool) -> list[int]:
    """The ids of the next batch."""
    sized = _waiting(using).values_list("id", "channel", Coalesce(Length("body"), 0))
    if not any_held:
        return _within((pk, size) for pk, _, size in sized[:MAX_ROWS])
    heads = sized[:MAX_PASSED].iterator(CHUNK)
    return _within((pk, size) for pk, channel, size in heads if not is_held(channel))


def _within(heads: Iterable[tuple[int, int]]) -> list[int]:
    chosen: list[int] = []
    total = 0
    for pk, size in heads:
        total += size
        if chosen and total > MAX_BYTES:
            break
        chosen.append(pk)
        if len(chosen) == MAX_ROWS:
            break
    return chosen


def _row(*values: Any) -> Row:
    """Whatever SQL wrote: one row that is not as it should be must not end the reading of all."""
    row = Row(*values)
    if isinstance(row.body, str):  # SQLite keeps what it was given
        row.body = row.body.encode()
    row.body = None if row.body is None else bytes(row.body)
    return row
