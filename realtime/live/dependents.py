"""Which rows of live models a row of some table is a part of: the row itself, parents' and children's rows where models
inherit, rows that a ForeignKey or ManyToManyField of the data names, and rows of tables between the two.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from django.db.models import CASCADE, DO_NOTHING, PROTECT, RESTRICT, ForeignKey, Model, QuerySet

from flotilla.realtime.live import registry
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.reading import key_pages, pages
from flotilla.realtime.live.rendering import columns_of

_LEAVES_THE_ROW = (CASCADE, PROTECT, RESTRICT, DO_NOTHING)
"""What becomes of a row whose ForeignKey's row is deleted: deleted as well, or nothing. All else changes the row."""


class Dependent(NamedTuple):
    """A live model whose rows are changed with rows of another model: those whose `path` is the value of the other
    row's `attribute`. `path` is None where they are the same rows."""

    live: LiveModel
    attribute: str = "pk"
    path: str | None = None
    by_saves: bool = True
    """Whether a save of the other row changes them, and not its deletion alone."""
    names: frozenset[str] | None = None
    """The other row's fields that are a part of the data; None: it may be any."""
    inherits: bool = False
    """Whether the other row is a part of the row, in the table of a parent or child."""

    @property
    def moves(self) -> bool:
        """Whether a change of the other row may change where a row is shown."""
        return self.path is None or self.inherits or self.live.function is not None or not self.live.shows_all

    def touched_by(self, names: Collection[str] | None) -> bool:
        """Whether a change of these fields of the other row changes anything; None: it may be any."""
        if not self.by_saves:
            return False
        wanted = own_names(self.live) if self.path is None else self.names
        return names is None or wanted is None or not wanted.isdisjoint(names)

    def pages(self, values: Iterable[Any], using: str) -> Iterator[Sequence[Any]]:
        """The primary keys of the rows that go with these values, in pages."""
        for page in pages(values):
            if self.path is None:
                yield page
            else:
                yield from key_pages(self._rows(page, using))

    def _rows(self, values: Sequence[Any], using: str) -> "QuerySet[Any]":
        own = self.live.model._base_manager.using(using)
        assert self.path is not None
        by_key = f"{self.path}__pk" if _is_relation(self.live.model, self.path) else self.path  # not by its `to_field`
        found = own.filter(**{f"{by_key}__in": values})
        return own.filter(pk__in=found.order_by().values("pk")) if "__" in self.path or self._many() else found

    def _many(self) -> bool:
        return self.path in {field.name for field in self.live.model._meta.many_to_many}

    def values_of(self, instance: Model) -> list[Any]:
        """What an instance says of its attribute."""
        value = instance.pk if self.attribute == "pk" else getattr(instance, self.attribute)
        return [] if value is None else [value]

    def values_in(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        """What rows in the database say of it."""
        return rows.values_list(self.attribute, flat=True)


def dependents_of(model: type[Model]) -> tuple[Dependent, ...]:
    """What a change of a row of this model changes."""
    own = model._meta.concrete_model or model
    found = _found or _all()
    direct = found.get(own, [])
    if not own._meta.parents:
        return tuple(direct)
    return (*direct, *(_inherited(one, parent) for parent in own._meta.all_parents for one in found.get(parent, [])))


def _all() -> dict[type[Model], list[Dependent]]:
    """All that there are; others find them when they are complete, and not before."""
    found: dict[type[Model], list[Dependent]] = {Model: []}
    for live in registry.all_sound():
        for source, dependent in _of(live):
            known = found.setdefault(source, [])
            if dependent not in known:
                known.append(dependent)
    _found.update(found)
    return found


def _inherited(dependent: Dependent, parent: type[Model]) -> Dependent:
    """What goes with a parent's row, found from its child's."""
    if dependent.attribute != "pk":
        return dependent
    return dependent._replace(
        attribute=parent._meta.pk.attname, path=dependent.path or parent._meta.pk.name, inherits=True
    )


def sources_of(live: LiveModel) -> set[type[Model]]:
    """The models whose rows change rows of a live model."""
    return {source for source, _ in _of(live)}


def _of(live: LiveModel) -> Iterator[tuple[type[Model], Dependent]]:
    model = live.model._meta.concrete_model or live.model
    yield model, Dependent(live)
    for parent in model._meta.all_parents:
        yield parent, Dependent(live, path=parent._meta.pk.name, inherits=True)
    for path in _paths(live):
        yield from _along(live, path)
    for field in model._meta.concrete_fields:
        if isinstance(field, ForeignKey) and field.remote_field.on_delete not in _LEAVES_THE_ROW:
            yield _concrete(field.related_model), Dependent(live, path=field.name, by_saves=False)
    for many in many_of(live):
        yield _concrete(many.related_model), Dependent(live, path=many.name, by_saves=False)
        through: Any = many.remote_field.through
        if not through._meta.auto_created:
            attribute = through._meta.get_field(many.m2m_field_name()).attname
            yield through, Dependent(live, attribute=attribute, path="pk")


@lru_cache(maxsize=1024)
def _is_relation(model: Any, path: str) -> bool:
    """Whether a path ends at another row, and not at a value."""
    field = None
    for step in path.split("__"):
        field = model._meta.pk if step == "pk" else model._meta.get_field(step)
        model = field.related_model
    return bool(model)


@lru_cache(maxsize=1024)
def own_names(live: LiveModel) -> frozenset[str] | None:
    """The row's own fields that say its data and where it is shown, by both of their names; None: it may be any."""
    if not live.by_names or live.function is not None or not live.shows_all:
        return None
    named = {name.partition("__")[0] for name in columns_of(live).all}
    return both_names(live.model, named)


def both_names(model: type[Model], named: Collection[str]) -> frozenset[str]:
    """Names of fields, each as `author` and as `author_id`."""
    fields = [model._meta.pk if name == "pk" else _field(model, name) for name in named]
    return frozenset(name for field in fields for name in (field.name, field.attname))


def _field(model: type[Model], name: str) -> Any:
    return next(field for field in model._meta.concrete_fields if name in (field.name, field.attname))


def many_of(live: LiveModel) -> list[Any]:
    """The ManyToManyFields whose changes change a row: those in `fields`; all where code makes the data."""
    wanted = {*(columns_of(live).lists if live.uses_fields else ()), *live.depends_on}
    every = not live.by_names or not live.shows_all or live.function is not None
    return [field for field in live.model._meta.many_to_many if every or field.name in wanted]


def _paths(live: LiveModel) -> set[str]:
    """Relations whose rows are a part of the data."""
    named = {name.rpartition("__")[0] for name in columns_of(live).data if "__" in name}
    return named | set(live.depends_on)


def _along(live: LiveModel, path: str) -> Iterator[tuple[type[Model], Dependent]]:
    """Every model that a path leads through."""
    model: Any = live.model
    steps = path.split("__")
    for count, step in enumerate(steps, start=1):
        model = model._meta.get_field(step).related_model
        way = "__".join(steps[:count])
        yield _concrete(model), Dependent(live, path=way, names=_names(live, model, way))


def _names(live: LiveModel, model: type[Model], path: str) -> frozenset[str] | None:
    """The fields of the model at the end of a path that the data has, or that lead further."""
    if any(f"{one}__".startswith(f"{path}__") for one in live.depends_on):
        return None
    behind = [name.removeprefix(f"{path}__") for name in columns_of(live).data if name.startswith(f"{path}__")]
    return both_names(model, {name.partition("__")[0] for name in behind})


def _concrete(model: Any) -> type[Model]:
    found: type[Model] = model._meta.concrete_model or model
    return found


_found: dict[type[Model], list[Dependent]] = {}
registry.changes.append(_found.clear)
