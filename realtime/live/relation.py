"""Changes of ManyToManyFields are seen, from either side, where they are a part of a live model's data.

Django tells of them inside of the transaction that it makes for each.
"""

from typing import Any

from django.db.models import Model
from django.db.models.signals import m2m_changed

from flotilla.realtime.live.dependents import Dependent, many_of
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.registry import live_by_label
from flotilla.realtime.live.ripple import Ripple

_KEPT = "_flotilla_relation"


def watch(live: LiveModel) -> None:
    """Hear of the fields that matter to a live model."""
    for field in many_of(live):
        through: Any = field.remote_field.through
        seen = _Relation(live, field)
        m2m_changed.connect(seen, sender=through, weak=False)


class _Relation:
    """A ManyToManyField of a live model."""

    def __init__(self, live: LiveModel, field: Any) -> None:
        self._live = live
        self._name = field.name
        self._mirrored = field.remote_field.symmetrical

    def __call__(
        self, instance: Model, action: str, reverse: bool, pk_set: set[Any] | None, using: str, **_: Any
    ) -> None:
        if live_by_label(self._live.label) is not self._live:
            return  # it was forgotten
        when, _dash, what = action.partition("_")
        kept: dict[Any, Ripple] = instance.__dict__.setdefault(_KEPT, {})
        place = (self._live, self._name)
        if when == "pre":
            own = kept[place] = Ripple(Dependent(self._live), using)
            own.before(self._keys(instance, reverse, pk_set, what == "clear", using))
        elif (ripple := kept.pop(place, None)) is not None:
            ripple.after()

    def _keys(self, instance: Any, reverse: bool, pk_set: set[Any] | None, clears: bool, using: str) -> set[Any]:
        """The rows whose lists change."""
        keys = set() if reverse else {instance.pk}
        if reverse or self._mirrored:
            if clears:
                rows = self._live.model._base_manager.using(using).filter(**{self._name: instance.pk})
                keys |= set(rows.values_list("pk", flat=True))
            else:
                keys |= pk_set or set()
        return keys
