"""`LiveModel`: what a project writes to say which rows of a model are shown where, and with which data.

    @live("board:{board_id}")
    class TicketLive(LiveModel):
        model = Ticket
        fields = ("id", "title", "state")

It holds what was declared and answers questions about it; nothing here reads or writes a database.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, Model, Q, QuerySet
from django.db.models.manager import BaseManager

from flotilla.realtime.live.patterns import Pattern

Channels = Callable[[Any], "str | Iterable[str] | None"]
"""A function that says which channels show a row; it gets an instance as the database has it."""


class LiveModel:
    """Rows of a model that are shown in channels. Declare a subclass, and decorate it with `live`.

    The data of a row is what `fields` names, or what `serializer` makes of it, or what `data` returns.
    """

    model: ClassVar[type[Model]]
    """Whose rows they are."""
    fields: ClassVar[Sequence[str]] = ()
    """Names of fields. A foreign key is the other row's key, a ManyToManyField the list of keys in their order;
    `author__name` is a field of the row that a foreign key names."""
    serializer: ClassVar[Any] = None
    """A serializer class of Django REST framework: `serializer(row).data` is the row's data."""
    key: ClassVar[str] = "pk"
    """The field that tells rows of a channel apart."""
    key_prefix: ClassVar[str] = ""
    """What stands before every key: for live models that share a channel."""
    templates: ClassVar[Sequence[str]] = ()
    """Templates that pages show a row with (`{% live %}`), each one element: rendered once for all of them, without a
    request, and sent with each change. One that is not named here is rendered for each page, which asks for it."""
    order: ClassVar[Sequence[str]] = ()
    """Fields by whose values rows are in order in such pages, as Django's `ordering`; default: that of the model."""
    depends_on: ClassVar[Sequence[str]] = ()
    """Relations whose changes change a row, where `serializer`, `data` or a template follows them: names of foreign
    keys (`author`, `author__company`) and of ManyToManyFields."""

    triggers: ClassVar[bool] = True
    """Whether `manage.py live_triggers` makes triggers for it."""

    def __init__(self, patterns: Sequence[Pattern] = (), function: Channels | None = None) -> None:
        self.patterns: tuple[Pattern, ...] = tuple(patterns)
        self.function = function

    def data(self, row: Any) -> Mapping[str, Any]:
        """A row's data, where neither `fields` nor `serializer` say it. `row` is an instance as the database has it."""
        raise NotImplementedError

    def queryset(self) -> "QuerySet[Any]":
        """The rows that are shown at all: all of the model's default manager. A row that ceases to be one of them is
        removed where it was shown. May use `select_related` and `prefetch_related`."""
        return self.model._default_manager.all()

    def rows(self, channel: str) -> "QuerySet[Any] | None":
        """The rows that a channel shows, where a function says the channels of a row; None: it shows none of them."""
        raise NotImplementedError

    # What follows from the declaration

    @cached_property
    def label(self) -> str:
        """Its name in the outbox."""
        return f"{self.model._meta.app_label}.{type(self).__name__}"

    @cached_property
    def uses_fields(self) -> bool:
        """Whether the data is read by names of fields."""
        return bool(self.fields)

    @cached_property
    def by_names(self) -> bool:
        """Whether the names of fields say all that is shown of a row: no code makes it, and no template."""
        return self.uses_fields and not self.templates

    @cached_property
    def gives_data(self) -> bool:
        """Whether it has a `data` of its own."""
        return type(self).data is not LiveModel.data

    @cached_property
    def gives_rows(self) -> bool:
        """Whether it has a `rows` of its own."""
        return type(self).rows is not LiveModel.rows

    @cached_property
    def shows_all(self) -> bool:
        """Whether every row of the table is shown, as far as its class tells."""
        return type(self).queryset is LiveModel.queryset and hides_nothing(self.model._default_manager)

    @cached_property
    def pattern_fields(self) -> dict[str, "Field[Any, Any]"]:
        """The fields that the patterns name, by the names they use. Raises FieldDoesNotExist."""
        return {name: self.concrete(name) for pattern in self.patterns for name in pattern.names}

    def concrete(self, name: str) -> "Field[Any, Any]":
        """The model's field of this name, which has a column; `pk` and `board_id` are names too. Raises
        FieldDoesNotExist."""
        meta = self.model._meta
        if name == "pk":
            return meta.pk
        for field in meta.concrete_fields:
            if name in (field.name, field.attname):
                return field
        raise FieldDoesNotExist(f"{meta.object_name} has no field {name!r} with a column")

    def key_of(self, value: Any) -> str:
        """The key of a row with this value in its key's field."""
        return f"{self.key_prefix}{value}"

    def filter_of(self, channel: str) -> Q | None:
        """Which rows of `queryset()` a channel shows; None: no channel of this live model."""
        if self.function is not None:
            if not self.gives_rows or (rows := self.rows(channel)) is None:
                return None
            return Q(pk__in=rows.order_by().values("pk"))
        found: Q | None = None
        for pattern in self.patterns:
            if (one := pattern.rows(channel, self.pattern_fields)) is not None:
                found = one if found is None else found | one
        return found


def hides_nothing(manager: "BaseManager[Any]") -> bool:
    """Whether a manager gives all rows of the table, as far as its class tells."""
    return type(manager).get_queryset is BaseManager.get_queryset
