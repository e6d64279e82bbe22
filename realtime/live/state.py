"""A page of a channel's state: the stream's position first, then rows and the outbox's position in one snapshot.

`version` is the highest position that the outbox gave in the channel, as the snapshot sees it. Positions are in the
order of commits, and a change is committed together with its row of the outbox. So every row of the page holds all
changes up to `version`, and none above it. A later page says as well which rows were removed since the first, and the
last one gives those that were changed: with it, all pages are as of its version.

Rows are read where they are written, never from a replica, which may lag behind the stream.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router, transaction
from django.db.models import Max, QuerySet

from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.live import state_cursor as cursors
from flotilla.realtime.live.entries import Entries, Entry
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.registry import rows_of
from flotilla.realtime.live.rendering import rendered
from flotilla.realtime.live.state_changes import changes_since
from flotilla.realtime.live.state_cursor import BadCursor, Cursor, Outlived
from flotilla.realtime.live.state_tag import KeptPages, question_of, tag_of
from flotilla.realtime.live.state_turns import Turns
from flotilla.realtime.models import OutboxRow

MOST_BYTES = 1024 * 1024  # of a page's rows; one larger row is a page of its own
MOST_CHANGED = 5000  # keys that a later page says were removed, or changed, since the first
MOST_BYTES_CHANGED = 8 * 1024 * 1024  # of the rows that the last page says were changed
WITHIN = 5.0  # seconds for the rows of a page; what was read then is the page
BATCH = 250  # rows in one statement

turns = Turns(at_once=8, waiting=64, patience=2.0)
kept_pages = KeptPages()
Shown = Sequence[tuple[LiveModel, "QuerySet[Any]"]]


class NotLive(LookupError):
    """No live model shows rows in the channel."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A page that is asked for: so many rows behind a cursor; `since` is the version of the first page."""

    channel: str
    limit: int
    after: Cursor | None = None
    since: int = 0
    known: frozenset[str] = frozenset()
    """Tags of what the client has."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer. `body` None: the client has it."""

    tag: str
    body: bytes | None


def shown_in(channel: str) -> tuple[str, Shown]:
    """The database of a channel's rows, and those rows. Raises NotLive."""
    found = rows_of(channel)
    if not found:
        raise NotLive(channel)
    aliases = {router.db_for_write(live.model) for live, _ in found}
    if len(aliases) > 1:
        names = ", ".join(sorted(aliases))
        raise ImproperlyConfigured(
            f"the channel {channel!r} shows rows of several databases ({names}), whose changes have no common order: "
            "give each of them a channel of its own"
        )
    alias = aliases.pop()
    return alias, [(live, rows.using(alias)) for live, rows in found]


def page(asked: Asked, alias: str, shown: Shown, position: StreamPosition) -> Page:
    """Read the page, for threads. `position` was read before.

    Raises BadCursor, Outlived (begin with the first page again), Busy, and what the database raises.
    """
    lives = [live for live, _ in shown]
    wanted = asked.channel, asked.limit, asked.since, asked.after
    question = question_of(*wanted)

    def tag(version: int) -> str:
        return tag_of(lives, position, version, *wanted)

    with turns.one():
        current = tag(version_of(asked.channel, alias))
        if current in asked.known:
            return Page(current, None)
        if (body := kept_pages.get(question, current)) is not None:
            return Page(current, body)
        version, body = read(asked, alias, shown, position, _data)
    current = tag(version)
    kept_pages.keep(question, current, body)
    return Page(current, body)


def read(asked: Asked, alias: str, shown: Shown, position: StreamPosition, entries: Entries) -> tuple[int, bytes]:
    """The version of a page, and what is answered. Raises BadCursor, Outlived, and what the database raises."""
    with snapshot(alias):
        version = version_of(asked.channel, alias)
        return version, _body(asked, alias, shown, position, version, entries)


@contextmanager
def snapshot(alias: str) -> Iterator[None]:
    """A transaction in which all is read as of one moment. In another one, a test's, it is what that one sees."""
    connection = connections[alias]
    alone = not connection.in_atomic_block
    with _reader(connection, alone), transaction.atomic(using=alias):
        if alone and connection.vendor in ("postgresql", "mysql"):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                if connection.vendor == "postgresql":
                    cursor.execute(f"SET LOCAL statement_timeout = {int(WITHIN * 1000)}")
        yield


@contextmanager
def _reader(connection: Any, alone: bool) -> Iterator[None]:
    """On SQLite, transactions that begin here wait for no writer, though those of the project may begin as writers."""
    if not alone or connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()
    mode, connection.transaction_mode = connection.transaction_mode, "DEFERRED"
    try:
        yield
    finally:
        connection.transaction_mode = mode


def version_of(channel: str, alias: str) -> int:
    """The highest position that the outbox gave in a channel, 0 for none."""
    changes = OutboxRow.objects.using(alias).filter(channel=channel, position__isnull=False)
    return int(changes.aggregate(top=Max("position"))["top"] or 0)


def _body(asked: Asked, alias: str, shown: Shown, position: StreamPosition, version: int, entries: Entries) -> bytes:
    began = time.time() if asked.after is None else asked.after.began
    rows = _Rows(asked, began, entries)
    rows.read(shown)
    answer: dict[str, Any] = {"offset": position.offset, "epoch": position.epoch, "version": version, "rows": rows.rows}
    if rows.next is not None:
        answer["next"] = cursors.written(rows.next)
    if asked.after is not None:
        since = changes_since(asked.channel, alias, asked.since, MOST_CHANGED)
        if rows.next is None:  # the last page: with this all pages are as new as it is
            answer["changed"] = [row.shown for row in since.rows(asked.channel, shown, MOST_BYTES_CHANGED, entries)]
        answer["removed"] = since.removed
    return msgspec.json.encode(answer)


def _data(live: LiveModel, rows: "QuerySet[Any]") -> list[Entry]:
    found = rendered(live, rows)
    return [Entry(one.pk, one.key, one.places, {"data": msgspec.Raw(one.data)}, len(one.data)) for one in found]


class _Rows:
    """Rows of a page, until it is full or its time is over."""

    def __init__(self, asked: Asked, began: float, entries: Entries) -> None:
        self.rows: list[dict[str, Any]] = []
        self.next: Cursor | None = None
        self._asked = asked
        self._entries = entries
        self._began = began
        self._bytes = 0
        self._until = time.monotonic() + WITHIN

    def read(self, shown: Shown) -> None:
        """Read, model by model, each in the order of primary keys. Raises BadCursor."""
        after = self._asked.after
        labels = [live.label for live, _ in shown]
        if after is not None and after.label not in labels:
            raise BadCursor
        for live, rows in shown[labels.index(after.label) if after is not None else 0 :]:
            if after is not None and live.label == after.label:
                rows = rows.filter(pk__gt=cursors.key_of(after, live.model))
            if not self._take(live, rows):
                return

    def _take(self, live: LiveModel, rows: "QuerySet[Any]") -> bool:
        """Take a model's rows; False when the page is full, with `next` set."""
        last: Any = None
        while True:
            size = min(BATCH, self._asked.limit - len(self.rows))
            rest = rows if last is None else rows.filter(pk__gt=last)
            batch = self._entries(live, rest[:size])
            for row in batch:
                if (self._asked.channel, row.key) in row.places:
                    self.rows.append(row.shown)
                    self._bytes += row.size
                last = row.pk
                if self._full():
                    self.next = cursors.behind(live.label, last, self._began)
                    return False
            if len(batch) < size:
                return True

    def _full(self) -> bool:
        if len(self.rows) >= self._asked.limit or self._bytes >= MOST_BYTES:
            return True
        return time.monotonic() > self._until


__all__ = ["Asked", "BadCursor", "NotLive", "Outlived", "Page", "page", "shown_in"]
