"""Rows that are deleted together, by one call of `delete` with its cascades.

Django tells of each row before it deletes any, and of each again when it is gone. Where a row was shown is read, under
a lock, when it is told of first; everything is written when the first is gone. In between it is kept on the object that
was asked to delete itself, for the transaction that this happens in.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import Model

from flotilla.realtime.live.dependents import Dependent, dependents_of
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.operation import Operation
from flotilla.realtime.live.ripple import Ripple

_KEPT = "_flotilla_deletion"
_NOTED = "_flotilla_noted"


class Deletion:
    """What is known of one deletion."""

    def __init__(self, using: str, place: object, noted: dict[LiveModel, Operation]) -> None:
        self.place = place
        """The block of the transaction that it happens in."""
        self._using = using
        self._own: dict[LiveModel, Operation] = noted
        self._others: list[tuple[type[Model], Ripple]] = []

    def before(self, instance: Model) -> None:
        """This row is about to be deleted."""
        for dependent in dependents_of(type(instance)):
            if dependent.path is None:
                self._row(dependent.live, instance.pk)
            else:
                self._ripple(dependent, instance)

    def _row(self, live: LiveModel, pk: Any) -> None:
        operation = self._own.get(live)
        if operation is None:
            operation = self._own[live] = Operation(live, self._using)
        operation.gone([pk] if operation.knows(pk) else operation.before([pk], deleting=True))

    def _ripple(self, dependent: Dependent, instance: Model) -> None:
        ripple = Ripple(dependent, self._using)
        ripple.before(dependent.values_of(instance), ends=True)
        self._others.append((type(instance), ripple))

    def after(self, sender: type[Model]) -> None:
        """Rows of this model are gone, and with them all that refers to them."""
        own, self._own = self._own, {}
        for operation in own.values():
            operation.write()
        done = [ripple for model, ripple in self._others if model is sender]
        self._others = [(model, ripple) for model, ripple in self._others if model is not sender]
        for ripple in done:
            ripple.after()


def deletion_of(origin: Any, using: str) -> Deletion:
    """The deletion that `origin`, an instance or a queryset, was asked for; it begins with the first call."""
    blocks: Sequence[object] = connections[using].atomic_blocks
    place = blocks[-1] if blocks else None
    known: Deletion | None = begun(origin, using)
    if known is None:
        known = Deletion(using, place, {} if origin is None else origin.__dict__.pop(_NOTED, {}))
        if origin is not None:
            origin.__dict__[_KEPT] = known
    return known


def note(origin: Any, operations: dict[LiveModel, Operation]) -> None:
    """Keep on a queryset what is known of the rows that it is about to delete."""
    origin.__dict__[_NOTED] = operations


def begun(origin: Any, using: str) -> Deletion | None:
    """The deletion that goes on in the transaction's innermost block, if any."""
    known: Deletion | None = None if origin is None else origin.__dict__.get(_KEPT)
    blocks: Sequence[object] = connections[using].atomic_blocks
    return known if known is not None and blocks and known.place is blocks[-1] else None
