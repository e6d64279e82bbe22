"""Changes of many rows of a model by one call, as all live models see them that these rows are a part of."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db.models import Model, Q, QuerySet

from flotilla.realtime.live.dependents import Dependent, dependents_of
from flotilla.realtime.live.operation import Operation
from flotilla.realtime.live.places import places_of_row
from flotilla.realtime.live.reading import become_writer, pages
from flotilla.realtime.live.rendering import columns_of
from flotilla.realtime.live.ripple import Ripple

_AT_ONCE = 100
"""Rows in one question by unique fields."""


class Many:
    """One call that changes rows of a model: fields of these `names`, or any. Whoever uses it is in a transaction."""

    def __init__(self, model: type[Model], using: str, names: Collection[str] | None = None) -> None:
        self._model = model
        self._using = using
        self._names = names
        touched = touched_by(model, names)
        self._own = [Operation(one.live, using) for one in touched if one.path is None]
        self._others = [(one, Ripple(one, using)) for one in touched if one.path is not None]
        become_writer(using)

    def before(self, keys: Sequence[Any], *, ends: bool = False) -> None:
        """Rows with these primary keys are about to change, or (`ends`) it may be to be deleted."""
        for operation in self._own:
            if self._may_move(operation):
                operation.before(keys, deleting=ends)
        for dependent, ripple in self._others:
            ripple.before(self._values(dependent, keys), ends=ends)

    def after(self, keys: Sequence[Any]) -> None:
        """They have changed."""
        for operation in self._own:
            operation.after(keys)
        for dependent, ripple in self._others:
            ripple.after(value for page in pages(keys) for value in self._values(dependent, page))

    def created(self, rows: Sequence[Any]) -> None:
        """These instances are in the database now, in so far as there was nothing in their way; not all know their
        primary key."""
        known = [row.pk for row in rows if row.pk is not None]
        self.after(known)
        unknown = [row for row in rows if row.pk is None]
        for operation in self._own if unknown else ():
            operation.reload(dict.fromkeys(channel for row in unknown for channel, _ in _places(operation, row)))
            operation.write()
        for dependent, ripple in self._others if unknown else ():
            if dependent.attribute != "pk":
                ripple.after(value for row in unknown for value in dependent.values_of(row))

    def _may_move(self, operation: Operation) -> bool:
        live = operation.live
        if self._names is None or live.function is not None or not live.shows_all:
            return True
        return not columns_of(live).movable.isdisjoint(self._names)

    def _values(self, dependent: Dependent, keys: Sequence[Any]) -> Iterable[Any]:
        if dependent.attribute == "pk":
            return keys
        rows = self._model._base_manager.using(self._using).filter(pk__in=keys)
        return dependent.values_in(rows).exclude(**{dependent.attribute: None})


def touched_by(model: type[Model], names: Collection[str] | None) -> list[Dependent]:
    """What a change of these fields of a model's rows changes."""
    return [one for one in dependents_of(model) if one.touched_by(names)]


def same_rows(model: type[Model], rows: Sequence[Any], unique: Collection[str], using: str) -> "list[Any]":
    """The primary keys of rows in the database that have the values of these instances in unique fields."""
    fields = [model._meta.pk if name == "pk" else model._meta.get_field(name) for name in unique]
    names = [field.attname for field in fields]  # type: ignore[union-attr]
    found: list[Any] = []
    for page in pages(rows, _AT_ONCE):
        told = [{name: getattr(row, name) for name in names} for row in page]
        asked = [Q(**one) for one in told if None not in one.values()]
        if asked:
            found += stored(model, using).filter(Q(*asked, _connector=Q.OR)).values_list("pk", flat=True)
    return found


def stored(model: type[Model], using: str) -> "QuerySet[Any]":
    """The rows of a model in the database."""
    return model._base_manager.using(using).all()


def _places(operation: Operation, row: Any) -> Iterable[tuple[str, str]]:
    """Where an instance is shown that was just written; its key is not known, and is not asked for."""
    live = operation.live
    for name, field in live.pattern_fields.items():
        if hasattr(getattr(row, field.attname), "resolve_expression"):
            raise ValueError(
                f"{live.label}: rows were created with an expression in {name!r} and without their keys: nobody "
                f"knows where they are shown; give {name!r} a plain value"
            )
    return places_of_row(live, row)
