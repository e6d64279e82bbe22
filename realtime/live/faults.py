"""Names in a live model's declaration that lead to no field. A live model with one is not used, and that is said."""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, ForeignKey

from flotilla.realtime.live.model import LiveModel

_FAR = ("fields", "depends_on", "order")  # whose names may lead over foreign keys


class Fault(NamedTuple):
    """What is wrong, and what to do."""

    text: str
    mend: str


@lru_cache(maxsize=1024)
def name_faults(live: LiveModel) -> tuple[Fault, ...]:
    """Every name that leads nowhere."""
    return tuple(_faults(live))


def _faults(live: LiveModel) -> Iterator[Fault]:
    many = {field.name for field in live.model._meta.many_to_many}
    asked = [("fields", name) for name in live.fields if name not in many]
    asked += [("depends_on", name) for name in live.depends_on if name not in many]
    asked += [("order", name.removeprefix("-")) for name in live.order]
    asked += [("key", live.key), *((pattern.text, name) for pattern in live.patterns for name in pattern.names)]
    for where, name in asked:
        try:
            _follow(live, name, relation=where == "depends_on", far=where in _FAR)
        except FieldDoesNotExist as error:
            yield Fault(f"{where}: {error}", _mend(live, name, where))


def _follow(live: LiveModel, path: str, *, relation: bool, far: bool) -> None:
    """Raise FieldDoesNotExist unless a path of names leads to a field, through foreign keys alone."""
    model: Any = live.model
    steps = path.split("__") if far else [path]
    for place, step in enumerate(steps):
        last = place == len(steps) - 1
        field = _concrete(model, step)
        if (not last or relation) and not isinstance(field, ForeignKey):
            raise FieldDoesNotExist(f"{step!r} of {model._meta.object_name} is no foreign key")
        model = field.related_model if isinstance(field, ForeignKey) else None


def _concrete(model: Any, name: str) -> "Field[Any, Any]":
    for field in model._meta.concrete_fields:
        if name in (field.name, field.attname) or (name == "pk" and field is model._meta.pk):
            found: Field[Any, Any] = field
            return found
    raise FieldDoesNotExist(f"{model._meta.object_name} has no field {name!r} with a column")


def _mend(live: LiveModel, name: str, where: str) -> str:
    fields = [one for field in live.model._meta.concrete_fields for one in (field.name, field.attname)]
    if "__" not in name and (near := get_close_matches(name, fields, 1)):
        return f"Did you mean {near[0]!r}?"
    if where not in _FAR:
        return "Name a field of the model that has a column; for anything else, give @live a function."
    return "Name fields of the model, or of rows that its foreign keys name (author__name); for else, write data(row)."
