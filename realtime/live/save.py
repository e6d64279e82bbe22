"""One save of an instance, as a live model sees it: what is asked before, and what is written after it.

It asks as little as it can. Where the row was shown must be read, under a lock, only if the save may change it; what
the row is afterwards only if `written` does not know it.
"""

from typing import Any

from django.db import connections
from django.db.models import Field, Model

from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.operation import Operation, write_shown
from flotilla.realtime.live.places import NOWHERE, Places
from flotilla.realtime.live.reading import become_writer, locked, present
from flotilla.realtime.live.rendering import columns_of
from flotilla.realtime.live.row_reader import read_row
from flotilla.realtime.live.written import UNSURE, as_written, exact

Row = tuple[Any, ...]


class Save:
    """Made before the save, in its transaction; `done` writes what became of the row. `ends`: the transaction is the
    save's own, and ends with that."""

    def __init__(
        self,
        live: LiveModel,
        instance: Model,
        using: str,
        force_insert: bool,
        force_update: bool,
        update_fields: frozenset[str] | None,
        *,
        ends: bool,
    ) -> None:
        self._live = live
        self._instance = instance
        self._using = using
        self._updated = update_fields
        self._ends = ends
        self._columns = columns = columns_of(live)
        self._in_row = live.uses_fields and live.function is None and live.shows_all and not live.model._meta.parents
        self._simple = self._in_row and columns.own
        self._old: Row | None = None
        self._was: Places = NOWHERE
        self._overlays = self._simple and as_written(type(instance), connections[using])
        if not surely_new(instance, force_insert, force_update):
            self._look()

    def _writes(self, field: "Field[Any, Any]") -> bool:
        """Whether the save writes this column."""
        return self._updated is None or field.name in self._updated or field.attname in self._updated

    def _look(self) -> None:
        """Note where the row is shown, if that may change."""
        columns, live = self._columns, self._live
        pk = self._instance.pk
        if self._in_row:
            moves = columns.movable if self._updated is None else columns.movable & self._updated
            if not moves:
                return
        if self._simple:
            become_writer(self._using)
            self._old = read_row(live, pk, self._using, lock=True)
            self._was = NOWHERE if self._old is None else columns.where_of(self._old[: len(columns.where)])
        else:
            self._was = locked(live, [pk], self._using).get(pk, NOWHERE)

    def done(self) -> None:
        """Write what the row is now."""
        pk = self._instance.pk
        if self._simple:
            values = self._known() or read_row(self._live, pk, self._using, lock=False)
            found = None if values is None else self._columns.rendered(values, {})
        else:
            found = next(iter(present(self._live, [pk], self._using)), None)
        if found is not None and len(found.places) == 1 and self._was <= found.places:
            (place,) = found.places
            write_shown(self._live, place, found.body, self._using, ends=self._ends)
            return
        operation = Operation(self._live, self._using)
        if found is not None:
            operation.shown(self._was, found.places, found.body)
        else:
            operation.removed_from(self._was)
        operation.write()

    def _known(self) -> Row | None:
        """The row's values, where they are known without reading."""
        if not self._overlays:
            return None
        connection, given = connections[self._using], self._instance.__dict__
        values: list[Any] = []
        for place, field in enumerate(self._columns.fields):
            if self._writes(field) or field.primary_key:
                value = UNSURE if field.generated else exact(field, given.get(field.attname, UNSURE), connection)
            else:
                value = UNSURE if self._old is None else self._old[place]
            if value is UNSURE:
                return None
            values.append(value)
        return tuple(values)


def surely_new(instance: Model, force_insert: bool, force_update: bool) -> bool:
    """Whether the save inserts a row, as Django decides it."""
    if force_insert or instance.pk is None:
        return True
    if force_update:
        return False
    key = instance._meta.pk
    return instance._state.adding and (key.has_default() or key.has_db_default())
