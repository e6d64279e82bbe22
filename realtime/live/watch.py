"""Saves and deletes that change live models' rows are seen.

`save_base` of the models is wrapped, so that a change and its row of the outbox are one transaction, also in
autocommit. Fixtures bypass it: their saves are heard of by signals, as are deletes; a model whose deletes are heard of
is not deleted in the fast way that tells nobody, in cascades neither.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import wraps
from typing import Any
from weakref import WeakSet

from django.apps import apps
from django.db import connections, router, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from flotilla.realtime.live import relation
from flotilla.realtime.live.deletion import begun, deletion_of
from flotilla.realtime.live.dependents import Dependent, dependents_of, sources_of
from flotilla.realtime.live.faults import name_faults
from flotilla.realtime.live.model import LiveModel, hides_nothing
from flotilla.realtime.live.queryset import is_live
from flotilla.realtime.live.registry import all_live
from flotilla.realtime.live.ripple import Ripple
from flotilla.realtime.live.save import Save, surely_new
from flotilla.realtime.live.written import RECEIVER

logger = logging.getLogger("flotilla.realtime.live")
_RAW = "_flotilla_raw_save"
_watched: WeakSet[LiveModel] = WeakSet()


def begin(live: LiveModel) -> None:
    """Watch the rows of a live model; where models are still being loaded, `ready` does it."""
    if apps.models_ready:
        _watch(live)


def ready() -> None:
    """Watch the rows of all that are known, once all models are."""
    for live in all_live():
        _watch(live)


def _watch(live: LiveModel) -> None:
    if live in _watched:
        return
    _watched.add(live)
    if faults := name_faults(live):
        logger.error("%s is not watched: %s", live.label, "; ".join(fault.text for fault in faults))
        return
    sources = sources_of(live)
    for source in sources:
        _wrap(source)
    for model in apps.get_models():
        if any(issubclass(model, source) for source in sources):
            pre_save.connect(_before_raw, sender=model, dispatch_uid=RECEIVER)
            post_save.connect(_after_raw, sender=model, dispatch_uid=RECEIVER)
            pre_delete.connect(_before_delete, sender=model, dispatch_uid=RECEIVER)
            post_delete.connect(_after_delete, sender=model, dispatch_uid=RECEIVER)
    relation.watch(live)
    _base(live.model)


def _base(model: type[Model]) -> None:
    """Let related managers, which use the base manager, change rows where it is seen: if the model's own does so and
    hides no rows, it is the base manager as well."""
    meta = (model._meta.concrete_model or model)._meta
    manager = meta.default_manager
    if manager is not None and is_live(manager) and hides_nothing(manager) and meta.base_manager_name is None:
        meta.base_manager_name = manager.name
        meta.__dict__.pop("base_manager", None)


def _wrap(model: type[Model]) -> None:
    around: Callable[..., None] = model.save_base
    if hasattr(around, "_flotilla_around"):
        return

    @wraps(around)
    def save_base(
        self: Model,
        raw: bool = False,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        alias = using or router.db_for_write(self.__class__, instance=self)
        dependents = [one for one in dependents_of(self.__class__) if one.touched_by(update_fields)]
        if raw or not dependents:
            around(self, raw, force_insert, force_update, alias, update_fields)
            return
        connection = connections[alias]
        inside = connection.in_atomic_block
        ends = not inside and len(dependents) == 1 and connection.get_autocommit()
        with nullcontext() if inside else transaction.atomic(using=alias):
            done = [
                _before_save(one, self, alias, bool(force_insert), force_update, update_fields, ends=ends)
                for one in dependents
            ]
            try:
                around(self, raw, force_insert, force_update, alias, update_fields)
            except Exception:
                # A receiver's, which may be caught, before the row was written or behind it: the transaction goes on.
                if inside and not connection.needs_rollback:
                    _finish(done, alias)
                raise
            _finish(done, alias)

    save_base.alters_data = True  # type: ignore[attr-defined]
    save_base._flotilla_around = around  # type: ignore[attr-defined]
    model.save_base = save_base  # type: ignore[method-assign]


def _finish(done: Iterable[Callable[[], None]], using: str) -> None:
    """Tell what was saved. Where that fails nothing is saved, though the error be caught."""
    with transaction.mark_for_rollback_on_error(using=using):
        for finish in done:
            finish()


def _before_save(
    dependent: Dependent,
    instance: Model,
    using: str,
    force_insert: bool,
    force_update: bool,
    update_fields: Any,
    *,
    ends: bool,
) -> Callable[[], None]:
    """What is to be done after a save. `ends`: nothing else is, but the commit."""
    if dependent.path is None:
        return Save(dependent.live, instance, using, force_insert, force_update, update_fields, ends=ends).done
    if dependent.attribute == "pk" and surely_new(instance, force_insert, force_update) and not dependent.inherits:
        return _nothing  # no row refers to a new one
    return _other(dependent, instance, using)


def _other(dependent: Dependent, instance: Model, using: str) -> Callable[[], None]:
    """Rows that this one is a part of."""
    ripple = Ripple(dependent, using)
    own = type(instance)._base_manager.using(using)
    named = own.none() if dependent.names is None else own.values_list(*sorted(dependent.names))
    before = named.filter(pk=instance.pk).first()
    if dependent.attribute == "pk":
        ripple.before(dependent.values_of(instance))
    else:
        ripple.before(own.filter(pk=instance.pk).values_list(dependent.attribute, flat=True))

    def finish() -> None:
        if before is None or named.filter(pk=instance.pk).first() != before:
            ripple.after(dependent.values_of(instance))

    return finish


def _nothing() -> None:
    """Nothing changes."""


def _before_raw(instance: Model, using: str, raw: bool = False, **_: Any) -> None:
    """A fixture is about to save a row."""
    if raw:
        with transaction.atomic(using=using, savepoint=False):
            known = [one for one in dependents_of(type(instance)) if one.by_saves]
            instance.__dict__[_RAW] = [_other(one, instance, using) for one in known]


def _after_raw(instance: Model, using: str, raw: bool = False, **_: Any) -> None:
    if raw:
        with transaction.atomic(using=using, savepoint=False):
            for finish in instance.__dict__.pop(_RAW, ()):
                finish()


def _before_delete(sender: type[Model], instance: Model, using: str, origin: Any = None, **_: Any) -> None:
    """A row is about to be deleted: all of one deletion are told of before the first is gone."""
    deletion = deletion_of(origin, using)
    deletion.before(instance)
    if origin is None:  # nothing to keep it on; the transaction is one with the deletion's
        deletion.after(sender)


def _after_delete(sender: type[Model], using: str, origin: Any = None, **_: Any) -> None:
    if (deletion := begun(origin, using)) is not None:
        deletion.after(sender)
