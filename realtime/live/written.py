"""What the database has of a row after a save, known without asking it again.

A save writes the values of an instance. Where a value comes back from the database exactly as it was written, it need
not be read. Everything else is: expressions, text given for a number, decimals, which are rounded, values that a
trigger of the database or somebody's receiver may have changed. `exact` is only ever a saving of one statement.
"""

import datetime
import math
import uuid
from enum import Enum
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model
from django.db.models.signals import post_save, pre_save
from django.dispatch import Signal
from django.dispatch.dispatcher import NONE_ID

from flotilla.realtime.live.reading import become_writer

UNSURE: Any = object()
"""Instead of a value that must be read."""
RECEIVER = "flotilla.realtime.live"
"""The `dispatch_uid` of our own receivers."""
_KEPT = "_flotilla_untouched"
TRIGGER = "flotilla_live_"
"""What the names of our own triggers begin with."""
_NUMBERS = (
    models.AutoField,
    models.BigAutoField,
    models.SmallAutoField,
    models.IntegerField,
    models.BigIntegerField,
    models.SmallIntegerField,
    models.PositiveIntegerField,
    models.PositiveBigIntegerField,
    models.PositiveSmallIntegerField,
)
_TEXTS = (models.CharField, models.TextField, models.SlugField, models.EmailField, models.URLField)
_TYPES: dict[type[Any], type[Any]] = {
    **dict.fromkeys(_NUMBERS, int),
    **dict.fromkeys(_TEXTS, str),
    models.BooleanField: bool,
    models.FloatField: float,
    models.UUIDField: uuid.UUID,
    models.DateField: datetime.date,
    models.DateTimeField: datetime.datetime,
}
"""By the class of a field, not one that inherits from it: the type of a value that comes back as it was given."""
_FOREIGN_TRIGGERS = {
    "postgresql": "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal"
    " AND tgname NOT LIKE %s",
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s AND name NOT LIKE %s",
}


def exact(field: "Field[Any, Any]", value: Any, connection: BaseDatabaseWrapper) -> Any:
    """What the database gives for this value of an instance, or UNSURE."""
    if value is None:
        return None
    if isinstance(field, models.ForeignKey) and type(field) in (models.ForeignKey, models.OneToOneField):
        return exact(field.target_field, value, connection)
    if isinstance(value, Enum):
        value = value.value
    kind = type(value)
    if _TYPES.get(type(field)) is not kind:
        return UNSURE
    if kind is datetime.datetime and not value.tzinfo is connection.timezone is datetime.UTC:
        return UNSURE
    if kind is float and not math.isfinite(value):
        return UNSURE
    return value


def as_written(model: type[Model], connection: BaseDatabaseWrapper) -> bool:
    """Whether a save of this class of instances leaves in its row what it wrote: nobody else has a hand in it."""
    return (
        _plain(model)
        and not any(_heard(signal, model) for signal in (pre_save, post_save))
        and _untouched(model, connection)
    )


def _plain(model: type[Model]) -> bool:
    own = model.__dict__.get("_flotilla_plain_save")
    if own is None:
        names = ("_save_table", "_save_parents", "_do_update", "_do_insert")
        own = all(getattr(model, name) is getattr(Model, name) for name in names)
        own = own and getattr(model.save_base, "_flotilla_around", None) is Model.save_base
        model._flotilla_plain_save = own  # type: ignore[attr-defined]
    return bool(own)


def _heard(signal: Signal, model: type[Model]) -> bool:
    """Whether somebody else hears of a save, and may change the row once more."""
    return any(key[1] in (NONE_ID, id(model)) and key[0] != RECEIVER for key, *_ in signal.receivers)


def _untouched(model: type[Model], connection: BaseDatabaseWrapper) -> bool:
    """Whether the table has no triggers of others. Looked up once for a connection and a table."""
    known: dict[str, bool] = connection.__dict__.setdefault(_KEPT, {})
    table = model._meta.db_table
    if table not in known:
        known[table] = connection.vendor in _FOREIGN_TRIGGERS and not _foreign_triggers(table, connection)
    return known[table]


def _foreign_triggers(table: str, connection: BaseDatabaseWrapper) -> int:
    become_writer(connection.alias)
    name = connection.ops.quote_name(table) if connection.vendor == "postgresql" else table
    with connection.cursor() as cursor:
        cursor.execute(_FOREIGN_TRIGGERS[connection.vendor], [name, f"{TRIGGER}%"])
        count: int = cursor.fetchone()[0]
    return count


def forget_tables(connection: BaseDatabaseWrapper) -> None:
    """Look for triggers again: some were made or removed."""
    connection.__dict__.pop(_KEPT, None)
