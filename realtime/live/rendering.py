"""The data of rows as JSON: one way for what is published and for the state of a channel, so that both say the same.

Rows are read from the database, never taken from instances that somebody has changed. Fields are read as
`QuerySet.values()` reads them; a serializer and `LiveModel.data` get instances.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import msgspec
from django.db.models import Field, ManyToManyField, QuerySet
from django.utils.functional import Promise

from flotilla.realtime.live.fragments import key_of, published
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.places import Places, places_of_row, places_of_values
from flotilla.realtime.protocol import foreign


class Rendered(NamedTuple):
    """A row that is shown: its primary key, its key in a channel, the JSON of its data, and where it is shown."""

    pk: Any
    key: str
    data: bytes
    places: Places
    html: bytes = b""
    """The JSON of its HTML by template, where that was wanted and there is any."""

    @property
    def body(self) -> bytes:
        """What is published of it: its data, and beside that its HTML."""
        return self.data + b',"html":' + self.html if self.html else self.data


class Columns:
    """What is read of a row by names, as `QuerySet.values_list` takes them."""

    def __init__(self, live: LiveModel) -> None:
        self.live = live
        many = {field.name for field in live.model._meta.many_to_many}
        self.lists: tuple[str, ...] = tuple(name for name in live.fields if name in many)
        """ManyToManyFields in the data."""
        self.data: tuple[str, ...] = tuple(name for name in live.fields if name not in many)
        """Fields of the row, and of rows that its foreign keys name."""
        self.places: tuple[str, ...] = tuple(live.pattern_fields)
        """What the patterns name."""
        self.where: tuple[str, ...] = ("pk", live.key, *self.places)
        """What says where a row is shown."""
        self.all: tuple[str, ...] = (*self.where, *self.data)

    @cached_property
    def fields(self) -> "tuple[Field[Any, Any], ...]":
        """The fields of `all`, where everything is in the row itself."""
        return tuple(self.live.concrete(name) for name in self.all)

    @cached_property
    def movable(self) -> frozenset[str]:
        """Fields of the row that say where it is shown and may change, by both of their names."""
        fields = [field for field in map(self.live.concrete, self.where) if not field.primary_key]
        return frozenset(name for field in fields for name in (field.name, field.attname))

    @cached_property
    def own(self) -> bool:
        """Whether everything is in the row itself."""
        return self.live.by_names and not self.lists and not any("__" in name for name in self.data)

    def where_of(self, values: Sequence[Any]) -> Places:
        """Where a row with these values of `where` is shown."""
        return places_of_values(self.live, values[1], dict(zip(self.places, values[2:], strict=True)))

    def rendered(self, values: Sequence[Any], lists: Mapping[str, list[Any]]) -> Rendered:
        """A row with these values of `all` and these lists."""
        count = len(self.where)
        data = dict(zip(self.data, values[count:], strict=True))
        if self.lists:
            data = {name: data[name] if name in data else lists.get(name, []) for name in self.live.fields}
        key = self.live.key_of(values[1])
        return Rendered(values[0], key, encoded(self.live, data), self.where_of(values[:count]))


@lru_cache(maxsize=1024)
def columns_of(live: LiveModel) -> Columns:
    """What is read of a live model's rows."""
    return Columns(live)


def rendered(live: LiveModel, rows: "QuerySet[Any]", *, html: bool = False) -> list[Rendered]:
    """These rows of `live.queryset()`, in their order, as they are in the database; with their HTML, if wanted."""
    html = html and bool(live.templates)
    if html or not live.uses_fields or live.function is not None:
        return _by_instances(live, rows, html)
    columns = columns_of(live)
    found = list(rows.prefetch_related(None).values_list(*columns.all))
    lists = lists_of(live, [values[0] for values in found], rows.db)
    return [columns.rendered(values, lists.get(values[0], {})) for values in found]


def _by_instances(live: LiveModel, rows: "QuerySet[Any]", html: bool) -> list[Rendered]:
    """Where a function or a template looks at rows."""
    instances = list(rows)
    places = {row.pk: places_of_row(live, row) for row in instances}
    shown = {row.pk: foreign.write(published(live, row)) for row in instances} if html else {}
    if live.uses_fields:  # what instances make of a field is another thing, for files say
        columns = columns_of(live)
        keys = list(places)
        named = rows.model._base_manager.using(rows.db).filter(pk__in=keys).values_list(*columns.all)
        values, lists = {one[0]: one for one in named}, lists_of(live, keys, rows.db)
        made = (columns.rendered(values[pk], lists.get(pk, {})) for pk in keys if pk in values)
        return [one._replace(places=places[one.pk], html=shown.get(one.pk, b"")) for one in made]
    return [
        Rendered(row.pk, key_of(live, row), _data_of(live, row), places[row.pk], shown.get(row.pk, b""))
        for row in instances
    ]


def _data_of(live: LiveModel, row: Any) -> bytes:
    return encoded(live, live.serializer(row).data if live.serializer is not None else live.data(row))


def encoded(live: LiveModel, data: Mapping[str, Any]) -> bytes:
    """Data as JSON. Raises TypeError for what JSON does not have."""
    try:
        return foreign.write(data, _encode_other)
    except (NotImplementedError, msgspec.EncodeError) as error:
        raise TypeError(f"the data of {live.label} cannot be sent as JSON: {error}") from error


def _encode_other(value: Any) -> Any:
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"objects of type {type(value).__qualname__} are not JSON")


def lists_of(live: LiveModel, keys: Sequence[Any], using: str) -> dict[Any, dict[str, list[Any]]]:
    """The lists of keys in the rows' ManyToManyFields, by the rows' primary keys."""
    found: dict[Any, dict[str, list[Any]]] = {}
    for name in columns_of(live).lists if keys else ():
        field = live.model._meta.get_field(name)
        assert isinstance(field, ManyToManyField)
        own, other = field.m2m_field_name(), field.m2m_reverse_field_name()
        through: Any = field.remote_field.through
        pairs = through._base_manager.using(using).filter(**{f"{own}__in": keys}).order_by(other, "pk")
        for key, value in pairs.values_list(own, other):
            found.setdefault(key, {}).setdefault(name, []).append(value)
    return found
