"""Changes that are not seen, as a project tells of them: of live models' rows, and of rows that are a part of them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import router, transaction
from django.db.models import Model, QuerySet

from flotilla.realtime.live.many import Many, touched_by
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.operation import Operation
from flotilla.realtime.live.places import places_of_row
from flotilla.realtime.live.reading import become_writer, key_pages, locked
from flotilla.realtime.live.ripple import Ripple


def changed(rows: "QuerySet[Any] | Model | Iterable[Model]", using: str | None = None) -> None:
    """Write what these rows are now; instances that the database has no more are removed where they say they were."""
    if isinstance(rows, QuerySet):
        alias = _alias(rows, using)
        with transaction.atomic(using=alias, savepoint=False):
            many = Many(rows.model, alias)
            for page in key_pages(_rows(rows.using(alias))):
                many.after(page)
        return
    instances = [rows] if isinstance(rows, Model) else list(rows)
    for model in {type(one) for one in instances}:
        some = [one for one in instances if type(one) is model]
        alias = using or router.db_for_write(model, instance=some[0])
        with transaction.atomic(using=alias, savepoint=False):
            become_writer(alias)
            for dependent in touched_by(model, None):
                if dependent.path is None:
                    _changed_instances(dependent.live, some, alias)
                else:
                    Ripple(dependent, alias).after(value for one in some for value in dependent.values_of(one))


@contextmanager
def changing(rows: "QuerySet[Any]", using: str | None = None) -> Iterator[None]:
    """Look at rows before a block and behind it, in one transaction."""
    alias = _alias(rows, using)
    with transaction.atomic(using=alias):
        many = Many(rows.model, alias)
        keys: list[Any] = []
        for page in key_pages(_rows(rows.using(alias))):
            many.before(page, ends=True)
            keys += page
        yield
        many.after(keys)


def _alias(rows: "QuerySet[Any]", using: str | None) -> str:
    return using or router.db_for_write(rows.model, **rows._hints)  # type: ignore[attr-defined]


def _rows(rows: "QuerySet[Any]") -> "QuerySet[Any]":
    """The same rows, as a question that pages can be cut from."""
    if not rows.query.is_sliced and not rows.query.distinct:
        return rows
    keys = list(rows.values_list("pk", flat=True)) if rows.query.is_sliced else rows.order_by().values("pk")
    found: QuerySet[Any] = rows.model._base_manager.using(rows.db).filter(pk__in=keys)
    return found


def _changed_instances(live: LiveModel, instances: list[Any], using: str) -> None:
    operation = Operation(live, using)
    there = set(locked(live, [one.pk for one in instances], using))
    operation.after(pk for pk in dict.fromkeys(one.pk for one in instances) if pk in there)
    for one in instances:
        if one.pk not in there and isinstance(one, live.model._meta.concrete_model or live.model):
            operation.removed_from(places_of_row(live, one))
    operation.write()
