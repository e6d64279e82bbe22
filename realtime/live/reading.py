"""Rows of live models are read: locked, for where they are shown before a change, and as they are after it.

Where a row is shown before a change is not taken from an instance, which may be stale: it is read under the lock that
the change itself takes a moment later. SQLite has no such locks: there a transaction that has read may be refused to
write when another one has written meanwhile ("database is locked"), so it becomes the writer first.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.places import Places, places_of_row
from flotilla.realtime.live.rendering import Rendered, columns_of, rendered
from flotilla.realtime.models import OutboxRow

PAGE = 500
"""Rows in one statement."""
_TABLE = OutboxRow._meta.db_table


def become_writer(using: str) -> None:
    """Take SQLite's lock for writing, before anything is read. Only inside of a transaction."""
    connection = connections[using]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {_TABLE} WHERE 0")  # changes nothing, but is a write


def locked(live: LiveModel, keys: Iterable[Any], using: str, *, deleting: bool = False) -> dict[Any, Places]:
    """Where rows with these primary keys are shown, each locked until the transaction ends. Those that are not there
    are left out; one that is there and shown nowhere has no places."""
    become_writer(using)
    found: dict[Any, Places] = {}
    for page in pages(keys):
        found.update(_locked(live, page, using, deleting))
    return found


def _locked(live: LiveModel, page: Sequence[Any], using: str, deleting: bool) -> dict[Any, Places]:
    base = live.model._base_manager.using(using).filter(pk__in=page).order_by("pk").select_related(None)
    rows = base.select_for_update(no_key=not deleting)
    if live.function is not None:
        found = {row.pk: places_of_row(live, row) for row in rows}
    else:
        columns = columns_of(live)
        found = {values[0]: columns.where_of(values) for values in rows.values_list(*columns.where)}
    if not live.shows_all and found:
        shown = set(shown_rows(live, list(found), using).values_list("pk", flat=True))
        found = {pk: places if pk in shown else frozenset() for pk, places in found.items()}
    return found


def shown_rows(live: LiveModel, keys: Sequence[Any], using: str) -> "QuerySet[Any]":
    """Those of the rows with these primary keys that are shown at all."""
    return live.queryset().using(using).prefetch_related(None).filter(pk__in=keys)


def present(live: LiveModel, keys: Sequence[Any], using: str) -> list[Rendered]:
    """Those of the rows with these primary keys that are shown, as they are now."""
    return rendered(live, live.queryset().using(using).filter(pk__in=keys), html=True)


def pages(keys: Iterable[Any], size: int = PAGE) -> Iterator[list[Any]]:
    """Keys in pages."""
    rest = iter(keys)
    while page := list(islice(rest, size)):
        yield page


def key_pages(rows: "QuerySet[Any]", size: int = PAGE) -> Iterator[list[Any]]:
    """The primary keys of rows, page by page in their order: each page is asked for when the one before was used."""
    ordered = rows.order_by("pk").values_list("pk", flat=True)
    page = list(ordered[:size])
    while page:
        yield page
        page = list(ordered.filter(pk__gt=page[-1])[:size]) if len(page) == size else []
