"""`live`: the decorator that makes a LiveModel known, and what a project's code tells of changes that are not seen."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, QuerySet

from flotilla.realtime.live import registry, watch
from flotilla.realtime.live.model import Channels, LiveModel
from flotilla.realtime.live.patterns import Pattern, PatternFault
from flotilla.realtime.live.unseen import changed, changing

Declared = TypeVar("Declared", bound=type[LiveModel])
Rows = QuerySet[Any] | Model | Iterable[Model]


class Live:
    """Show the rows of the decorated LiveModel in these channels: patterns as `"board:{board_id}"`, or one function
    that gets a row and returns a channel, or several, or None. Raises ImproperlyConfigured for anything else."""

    def __call__(self, *channels: str | Channels) -> Callable[[Declared], Declared]:
        """What `live` does as a decorator."""

        def declare(declared: Declared) -> Declared:
            live = _made(declared, channels)
            registry.register(live)
            watch.begin(live)
            return declared

        return declare

    def changed(self, rows: Rows, *, using: str | None = None) -> None:
        """Tell of rows that were changed where it is not seen: by raw SQL, say. Call it in the transaction of the
        change. Of a row that is gone give the instance; of one that has left a channel, use `changing`."""
        changed(rows, using)

    def changing(self, rows: "QuerySet[Any]", *, using: str | None = None) -> AbstractContextManager[None]:
        """A block that changes rows where it is not seen, in a transaction: they are locked before, and looked at again
        behind it, so that what moved or was deleted is removed where it was."""
        return changing(rows, using)


live = Live()


def _made(declared: type[LiveModel], channels: tuple[str | Channels, ...]) -> LiveModel:
    where = f"{declared.__module__}.{declared.__qualname__}"
    if not (isinstance(declared, type) and issubclass(declared, LiveModel)):
        raise ImproperlyConfigured(f'{where}: decorate a subclass of LiveModel with @live("…")')
    model = getattr(declared, "model", None)
    if not (isinstance(model, type) and issubclass(model, Model)) or model._meta.abstract:
        raise ImproperlyConfigured(f"{where}: set `model` to the model whose rows are shown; an abstract one has none")
    if not channels:
        raise ImproperlyConfigured(f'{where}: say where its rows are shown, as in @live("board:{{board_id}}")')
    texts = [one for one in channels if isinstance(one, str)]
    functions = [one for one in channels if not isinstance(one, str)]
    if functions and (texts or len(functions) > 1):
        raise ImproperlyConfigured(f"{where}: give patterns or one function; the function may return several channels")
    try:
        return declared([Pattern(text) for text in texts], functions[0] if functions else None)
    except PatternFault as fault:
        raise ImproperlyConfigured(f"{where}: {fault}") from None
