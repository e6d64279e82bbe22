"""Inspection of the outbox, a page at a time, and its rows by their names. The admin and `manage.py outbox` show it.

A row's name is `alias:id`, as in `default:17`: ids are of one database. No question counts a table: each page goes on
where the one before it ended, along an index. All may raise DatabaseError.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.db.models.functions import Length, Substr
from django.utils import timezone

from flotilla.realtime.api.inspection import Page
from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox import set_aside
from flotilla.realtime.outbox.backlog import MOST, databases, rows_set_aside, waiting_rows

WAITING, SET_ASIDE, SENT = "waiting", "set aside", "sent"
STATES = (WAITING, SET_ASIDE, SENT)
MAX_BODY = 4000  # bytes of a body that are read to be shown
MAX_ID = 2**63 - 1
_SHOWN = (
    *("id", "channel", "key", "operation", "live", "position", "written_at", "sent_at", "failed_at"),
    *("epoch", "offset", "attempts", "error"),
)

ROW = ("row", "database", "state", *_SHOWN)
"""The keys of a row."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST = 250_000_000_000_000_000  # microseconds: what a datetime holds

Cursor = tuple[int, ...]


def name_of(using: str, pk: int) -> str:
    """How a row is called."""
    return f"{using}:{pk}"


def row_named(name: str) -> tuple[str, int]:
    """The database and the id of a row with this name; an id alone is of the first database. Raises ValueError for what
    can be no row."""
    known = databases()
    using, colon, text = name.strip().rpartition(":")
    using = using if colon or not known else known[0]
    if using not in known:
        raise ValueError(f"no database {using[:40]!r} has an outbox; there is {', '.join(known) or 'none'}")
    found = _number(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not the id of a row of the outbox")
    return using, found


def rows(using: str, *, state: str = "", channel: str = "", after: str = "", limit: int = 50) -> Page:
    """A page of the rows of a database, in any state ("") or one of STATES; `channel` is a whole name. What waits comes
    in the order in which it will be sent, all else with the newest first."""
    cursor = _read(after)
    listed, keys = _listed(using, state, channel, cursor)
    found = list(listed.values(*_SHOWN)[: limit + 1])
    more, found = found[limit:], found[:limit]
    following = ".".join(str(_key(found[-1], key)) for key in keys) if more else ""
    return Page([_row(using, row) for row in found], None, following)


def row(using: str, pk: int, *, body: bool = False) -> dict[str, Any] | None:
    """One row, None where it is gone. With `body` also the beginning of its body, `bytes` is its whole size."""
    found = OutboxRow.objects.using(using).filter(pk=pk).annotate(bytes=Length("body"))
    more: tuple[str, ...] = ("keywords", "bytes")
    if body:
        found, more = found.annotate(beginning=Substr("body", 1, MAX_BODY)), (*more, "beginning")
    one = found.values(*_SHOWN, *more).first()
    if one is None:
        return None
    beginning = one.get("beginning")
    return _row(using, one) | ({"beginning": bytes(beginning)} if beginning is not None else {})


def retry(using: str, pk: int) -> bool:
    """Have a row that was set aside sent after all that waits; False where there is no such row."""
    return set_aside.retry([pk], using=using) > 0


def drop(using: str, pk: int) -> bool:
    """Give up a row that was set aside; False where there is no such row."""
    return set_aside.drop([pk], using=using) > 0


def retry_all(using: str) -> int:
    """The same as `retry`, of all rows that are set aside now; returns how many there were."""
    ids = list(rows_set_aside(using).values_list("id", flat=True)[:MOST])
    pages = (ids[start : start + set_aside.MAX] for start in range(0, len(ids), set_aside.MAX))
    return sum(set_aside.retry(page, using=using) for page in pages)


def _listed(using: str, state: str, channel: str, cursor: Cursor) -> tuple[QuerySet[OutboxRow], tuple[str, ...]]:
    """The rows that come after a cursor, in their order, and the fields that make the cursor of one."""
    every = OutboxRow.objects.using(using)
    found = {
        WAITING: waiting_rows(using),
        SET_ASIDE: rows_set_aside(using),
        SENT: every.filter(sent_at__isnull=False),
    }.get(state, every.all())
    if channel:
        found = found.filter(channel=channel).order_by("-position")
        return (found.filter(position__lt=cursor[0]) if cursor else found), ("position",)
    if state == WAITING:
        return (found.filter(position__gt=cursor[0]) if cursor else found), ("position",)
    if state in (SENT, SET_ASIDE):
        field = "sent_at" if state == SENT else "failed_at"
        if len(cursor) == 2:  # those of a batch have one time
            at = _moment(cursor[0])
            found = found.filter(Q(**{f"{field}__lt": at}) | Q(id__lt=cursor[1]), **{f"{field}__lte": at})
        return found.order_by(f"-{field}", "-id"), (field, "id")
    return (found.filter(id__lt=cursor[0]) if cursor else found).order_by("-id"), ("id",)


def _row(using: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row with its name, its state, and times as Unix seconds (0.0: none)."""
    state = SET_ASIDE if row["failed_at"] else SENT if row["sent_at"] else WAITING
    times = {key: _micros(row[key]) / 1e6 for key in ("written_at", "sent_at", "failed_at")}
    return {"row": name_of(using, row["id"]), "database": using, "state": state, **row, **times}


def _key(row: dict[str, Any], field: str) -> int:
    """A field of a row's cursor."""
    value = row[field]
    return _micros(value) if isinstance(value, datetime) else int(value or 0)


def _micros(when: datetime | None) -> int:
    """Microseconds of Unix time, in which databases keep times; 0 for none."""
    if when is None:
        return 0
    aware = timezone.make_aware(when) if timezone.is_naive(when) else when
    return (aware - _EPOCH) // _MICROSECOND


def _moment(micros: int) -> datetime:
    """The time again, as the database's queries take it."""
    when = _EPOCH + min(micros, _LAST) * _MICROSECOND
    return when if settings.USE_TZ else timezone.make_naive(when)


def _read(after: str) -> Cursor:
    """A cursor; what is none begins anew."""
    found = [_number(part) for part in after.split(".")]
    return () if None in found else tuple(number for number in found if number is not None)


def _number(text: str) -> int | None:
    fits = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID)) and int(text) <= MAX_ID
    return int(text) if fits else None
