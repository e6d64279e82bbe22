"""Rows are written to the outbox, in the caller's transaction: publications, and changes of live models' rows.

What is written is committed or rolled back with everything else of the transaction, or of its savepoint. In autocommit
a call is a transaction of its own. Of the changes of one (channel, key) in a transaction the newest alone is kept.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DEFAULT_DB_ALIAS

from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox.columns import CurrentTransaction
from flotilla.realtime.outbox.wake import Writing, writing

Operation = Literal["set", "remove", "reload"]
MAX_TEXT = 255
"""Characters of a channel or a key, which are columns here."""
PAGE = 500
"""Changes in one statement."""
PAGE_OF_FEW_PARAMETERS = 150  # SQLite may take 999 parameters in a statement
UPSERT = (
    "ON CONFLICT (transaction, channel, key, (CASE WHEN operation = 'publish' THEN id ELSE 0 END))"
    " WHERE position IS NULL DO UPDATE SET"
    " operation = EXCLUDED.operation, live = EXCLUDED.live, body = EXCLUDED.body"
)
"""On PostgreSQL, the end of an INSERT of changes that take the place of those that the transaction has written."""
_TABLE = OutboxRow._meta.db_table
_PUBLICATION = ("channel", "body", "keywords", "once")
_CHANGE = ("channel", "key", "operation", "live", "body", "transaction")
_MISSING = ("42P01", "42883", 1146)  # undefined_table, undefined_function of PostgreSQL, ER_NO_SUCH_TABLE of MySQL
_SET = "SELECT flotilla_outbox_set(%s, %s, %s, %s, false)"
_SET_AT_THE_END = "SELECT flotilla_outbox_set(%s, %s, %s, %s, true)"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a live model's row in a channel. `body`: the JSON of its data; None: it is rendered when sent, or
    there is none. A `reload` is about all rows of the channel: its key is ""."""

    channel: str
    key: str
    operation: Operation
    live: str = ""
    body: bytes | None = None


def write(channel: str, body: bytes, keywords: Mapping[str, Any], *, using: str | None = None) -> None:
    """Write a publication: its JSON object without an offset, and keywords of `engine.calls.publish`.

    Of those with one `idempotency_key` a channel keeps the first. Raises ValueError for a channel that is too long,
    ImproperlyConfigured where the database has no outbox.
    """
    _require_short("channel", channel)
    kept = {name: value for name, value in keywords.items() if value}
    key = kept.pop("idempotency_key", "")
    once = blake2b(key.encode(), digest_size=12).hexdigest() if key else None
    with _writing(using) as (connection, _):
        row = (channel, _binary(connection, body), json.dumps(kept), once)
        end = "" if once is None else _unless_there(connection)
        _insert(connection, _PUBLICATION, [row], end)


def write_set(channel: str, key: str, *, live: str, body: bytes, using: str, ends: bool = False) -> None:
    """Write that a live model's row is set, as `write_changes` does, in the transaction that goes on. `ends`: nothing
    else is done in it but its commit, which makes it cheaper on PostgreSQL."""
    change = Change(channel, key, "set", live, body)
    connection = connections[using]
    if connection.vendor != "postgresql":
        write_changes((change,), using=using)
        return
    _require(change)
    with _named_faults(using), connection.cursor() as cursor:
        cursor.execute(_SET_AT_THE_END if ends else _SET, (channel, key, live, _binary(connection, body)))
    writing(using).changes = True


def write_changes(changes: Iterable[Change], *, using: str | None = None) -> None:
    """Write live models' changes, in this order. Each takes the place of the one that the transaction has written of
    the same channel and key, a `reload` that of all before it in its channel.

    Raises ValueError for a channel or a key that cannot be kept, ImproperlyConfigured where the database has no outbox.
    """
    kept = _newest(changes)
    if not kept:
        return
    with _writing(using) as (connection, current):
        reloaded = [one.channel for one in kept if one.operation == "reload"]
        if reloaded:
            _drop_changes(connection, current, reloaded)
        by_database = connection.vendor == "postgresql"
        size = PAGE if by_database else PAGE_OF_FEW_PARAMETERS
        for start in range(0, len(kept), size):
            page = kept[start : start + size]
            if by_database:
                _upsert(connection, page)
            else:
                _replace(connection, current, page)
        current.changes = True


def _newest(changes: Iterable[Change]) -> list[Change]:
    """Those that are not followed by one that takes their place."""
    kept: dict[tuple[str, str], Change] = {}
    for one in changes:
        _require(one)
        if one.operation == "reload":
            kept = {place: other for place, other in kept.items() if other.channel != one.channel}
        kept.pop((one.channel, one.key), None)
        kept[one.channel, one.key] = one
    return list(kept.values())


def _require(change: Change) -> None:
    _require_short("channel", change.channel)
    _require_short("key", change.key)
    if (change.key == "") != (change.operation == "reload"):
        raise ValueError(f"a change has a key, and a reload has none: {change.operation!r} of {change.key!r}")


def _require_short(what: str, text: str) -> None:
    if len(text) > MAX_TEXT or "\0" in text:
        shown = f"{text[:40]!r}…" if len(text) > MAX_TEXT else repr(text)
        raise ValueError(f"a {what} of the outbox has at most {MAX_TEXT} characters, and no NUL: {shown}")


@contextmanager
def _writing(using: str | None) -> Iterator[tuple[BaseDatabaseWrapper, Writing]]:
    """A place to write in: the current transaction of a database, or else one of its own."""
    alias = DEFAULT_DB_ALIAS if using is None else using
    with _named_faults(alias), transaction.atomic(using=alias, savepoint=False):
        yield connections[alias], writing(alias)


@contextmanager
def _named_faults(alias: str) -> Iterator[None]:
    """Say what to do where there is no outbox."""
    try:
        yield
    except DatabaseError as error:
        if not _is_missing(error):
            raise
        raise ImproperlyConfigured(
            f"the database {alias!r} has no outbox (table {_TABLE}), which durable publications are written to: "
            f"run `manage.py migrate flotilla_realtime --database {alias}`"
        ) from error


def _is_missing(error: DatabaseError) -> bool:
    """Whether it is an error about a table that is not there."""
    codes = [getattr(error.__cause__, name, None) for name in ("sqlstate", "pgcode")]
    return any(code in _MISSING for code in (*codes, *error.args)) or str(error).startswith("no such table")


def _insert(connection: BaseDatabaseWrapper, columns: Sequence[str], rows: Sequence[Sequence[Any]], end: str) -> None:
    names = ", ".join(map(connection.ops.quote_name, columns))
    places = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * len(rows))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {_TABLE} ({names}) VALUES {places} {end}", [value for row in rows for value in row]
        )


def _unless_there(connection: BaseDatabaseWrapper) -> str:
    """The end of an INSERT that does nothing where a row has this `once` already."""
    if connection.vendor == "mysql":
        return "ON DUPLICATE KEY UPDATE once = once"
    return "ON CONFLICT (channel, once) WHERE once IS NOT NULL DO NOTHING"


def _upsert(connection: BaseDatabaseWrapper, changes: Sequence[Change]) -> None:
    """On PostgreSQL, which knows the transaction: in one statement."""
    columns = _CHANGE[:-1]
    rows = [(one.channel, one.key, one.operation, one.live, _binary(connection, one.body)) for one in changes]
    _insert(connection, columns, rows, UPSERT)


def _replace(connection: BaseDatabaseWrapper, current: Writing, changes: Sequence[Change]) -> None:
    """Elsewhere: look for those of before, if there are any, and write the new ones."""
    if current.changes:
        new = {(one.channel, one.key) for one in changes}
        earlier = _changes_of(connection, current).filter(key__in={key for _, key in new})
        found = [pk for pk, channel, key in earlier.values_list("pk", "channel", "key") if (channel, key) in new]
        OutboxRow.objects.using(connection.alias).filter(pk__in=found).delete()
    rows = [
        (one.channel, one.key, one.operation, one.live, _binary(connection, one.body), current.name) for one in changes
    ]
    _insert(connection, _CHANGE, rows, "")


def _drop_changes(connection: BaseDatabaseWrapper, current: Writing, channels: Sequence[str]) -> None:
    """Forget what the transaction has written of the rows of these channels."""
    if current.changes:
        for start in range(0, len(channels), PAGE):
            page = channels[start : start + PAGE]
            _changes_of(connection, current).filter(channel__in=page).delete()


def _changes_of(connection: BaseDatabaseWrapper, current: Writing) -> Any:
    """The current transaction's changes."""
    changes = OutboxRow.objects.using(connection.alias).exclude(operation="publish")
    if connection.vendor == "postgresql":
        return changes.filter(transaction=CurrentTransaction(), position=None)
    return changes.filter(transaction=current.name).exclude(transaction="")  # which an index may ask for


def _binary(connection: Any, body: bytes | None) -> Any:
    return None if body is None else connection.Database.Binary(body)
