"""One row is read by its primary key, with SQL that was made once: of what a save costs more, this is the most."""

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.rendering import columns_of

_KEPT = "_flotilla_live_readers"


class RowReader:
    """Reads `Columns.all` of a live model's rows, with or without the lock that an update takes; for live models whose
    data is in fields. Belongs to a connection, as what turns columns into values does."""

    def __init__(self, live: LiveModel, probe: Any, connection: BaseDatabaseWrapper, *, lock: bool) -> None:
        self._connection = connection
        self._pk = live.model._meta.pk
        self._names = columns_of(live).all
        self._manager = live.model._base_manager
        self._lock = lock
        rows = self._rows(probe)
        compiler: Any = rows.query.get_compiler(connection.alias)
        self._sql, parameters = compiler.as_sql()
        self._fixed = len(parameters) == 1
        self._converters = compiler.get_converters([column for column, *_ in compiler.select])

    def _rows(self, pk: Any) -> Any:
        rows = self._manager.using(self._connection.alias).filter(pk=pk).order_by().values_list(*self._names)
        return rows.select_for_update(no_key=True) if self._lock else rows

    def read(self, pk: Any) -> tuple[Any, ...] | None:
        """The row's values, None where it is not there."""
        if not self._fixed:
            found: tuple[Any, ...] | None = self._rows(pk).first()
            return found
        with self._connection.cursor() as cursor:
            cursor.execute(self._sql, [self._pk.get_db_prep_value(pk, self._connection)])
            row = cursor.fetchone()
        if row is None or not self._converters:
            return None if row is None else tuple(row)
        values = list(row)
        for place, (convert, expression) in self._converters.items():
            for one in convert:
                values[place] = one(values[place], expression, self._connection)
        return tuple(values)


def read_row(live: LiveModel, pk: Any, using: str, *, lock: bool) -> tuple[Any, ...] | None:
    """The values of `Columns.all` of a row. Only inside of a transaction."""
    connection = connections[using]
    readers: dict[Any, RowReader] = connection.__dict__.setdefault(_KEPT, {})
    known = readers.get((live, lock))
    if known is None:
        known = readers[live, lock] = RowReader(live, pk, connection, lock=lock)
    return known.read(pk)
