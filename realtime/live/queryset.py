"""`LiveQuerySet` and `LiveManager`: changes of many rows by one call are seen.

    class Ticket(models.Model):
        objects = LiveManager()                        # or LiveManager.from_queryset(TicketQuerySet)()

Each call is one transaction: the rows are looked at, changed, and looked at again, in pages. Of rows that no live model
shows nothing is asked.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from django.db import connections, transaction
from django.db.models import Manager, Model, QuerySet

from flotilla.realtime.live.deletion import note
from flotilla.realtime.live.dependents import dependents_of
from flotilla.realtime.live.many import Many, same_rows, touched_by
from flotilla.realtime.live.operation import Operation
from flotilla.realtime.live.reading import become_writer, key_pages, pages

Row = TypeVar("Row", bound=Model)
MOST_IN_ONE_UPDATE = 30_000
"""Rows that one UPDATE names by their keys; more are updated in several."""


class LiveQuerySet(QuerySet[Row]):
    """A queryset whose `update`, `delete`, `bulk_create` and `bulk_update` live models see."""

    def update(self, **values: Any) -> int:
        """Update these rows; returns how many. Raises ValueError where that changes primary keys."""
        names = _names(self.model, values)
        if self.query.is_sliced or self.query.combinator or not touched_by(self.model, names):
            return super().update(**values)
        self._for_write = True
        using = self.db
        with transaction.atomic(using=using, savepoint=False):
            if self.model._meta.pk.name in names:
                raise ValueError(f"{self.model._meta.label}: rows that are shown live keep their primary keys")
            become_writer(using)
            many = Many(self.model, using, names)
            keys: list[Any] = []
            for page in key_pages(self._distinct_rows()):
                many.before(page)
                keys += page
            count = self._update_these(keys, values)
            many.after(keys)
        self._result_cache = None
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def _update_these(self, keys: Sequence[Any], values: dict[str, Any]) -> int:
        """Update the rows that were looked at, and no others that came to be among these since."""
        if connections[self.db].vendor == "sqlite":  # nobody else writes
            return self._plain().update(**values)
        found = pages(keys, MOST_IN_ONE_UPDATE) if keys else [[]]
        return sum(self._plain().filter(pk__in=page).update(**values) for page in found)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete these rows, with cascades; returns how many, in all and by model."""
        own = [one.live for one in dependents_of(self.model) if one.path is None]
        if not own or self.query.is_sliced or self.query.distinct or self.query.combinator:
            return super().delete()
        self._for_write = True
        with transaction.atomic(using=self.db, savepoint=False):
            become_writer(self.db)
            operations = {}
            for live in own:
                operation = operations[live] = Operation(live, self.db, remembers_all=True)
                for page in key_pages(self._distinct_rows()):
                    operation.before(page, deleting=True)
            note(self, operations)
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Row], *args: Any, **options: Any) -> list[Row]:
        """Insert these rows, as Django does. Rows that do not know their primary keys afterwards (`ignore_conflicts`)
        have their channels load everything anew."""
        if not touched_by(self.model, None):
            return super().bulk_create(objs, *args, **options)
        self._for_write = True
        rows = list(objs)
        with transaction.atomic(using=self.db, savepoint=False):
            many = Many(self.model, self.db)
            unique = self._unique(args, options)
            if unique:
                many.before(same_rows(self.model, rows, unique, self.db))
            made = super().bulk_create(rows, *args, **options)
            many.created(made)
        return made

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def _unique(self, args: Sequence[Any], options: dict[str, Any]) -> Collection[str]:
        """The fields by which rows may meet others that are updated instead."""
        names = ("batch_size", "ignore_conflicts", "update_conflicts", "update_fields", "unique_fields")
        given = dict(zip(names, args, strict=False))
        given.update(options)
        return (given.get("unique_fields") or ()) if given.get("update_conflicts") else ()

    def bulk_update(self, objs: Iterable[Row], fields: Iterable[str], batch_size: int | None = None) -> int:
        """Update these fields of these rows from their instances; returns how many."""
        named = list(fields)
        names = _names(self.model, named)
        if not touched_by(self.model, names):
            return super().bulk_update(objs, named, batch_size)
        self._for_write = True
        rows = tuple(objs)
        keys = [row.pk for row in rows if row.pk is not None]
        with transaction.atomic(using=self.db, savepoint=False):
            many = Many(self.model, self.db, names)
            for page in pages(keys):
                many.before(page)
            count = self._plain().bulk_update(rows, named, batch_size)
            many.after(keys)
        return count

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def _plain(self) -> "QuerySet[Row]":
        """The same rows without us."""
        return QuerySet(self.model, query=self.query.chain(), using=self.db, hints=self._hints)  # type: ignore[attr-defined]

    def _distinct_rows(self) -> "QuerySet[Any]":
        """The same rows, each once, as a question that pages can be cut from."""
        own = self.model._base_manager.using(self.db)
        return own.filter(pk__in=self._plain().order_by().values("pk"))


def _names(model: type[Model], named: Iterable[str]) -> set[str]:
    """Names of fields, each as `author` and as `author_id`; those that are none are left for Django to refuse."""
    wanted = {model._meta.pk.name if name == "pk" else name for name in named}
    both = {(field.name, field.attname) for field in model._meta.concrete_fields}
    return wanted.union(*(pair for pair in both if not wanted.isdisjoint(pair)))


class LiveManager(Manager.from_queryset(LiveQuerySet)[Row]):  # type: ignore[misc]
    """A manager of such querysets. With a queryset of one's own, let that inherit from LiveQuerySet."""


def is_live(manager: Any) -> bool:
    """Whether changes by querysets of this manager are seen."""
    return issubclass(getattr(manager, "_queryset_class", QuerySet), LiveQuerySet)
