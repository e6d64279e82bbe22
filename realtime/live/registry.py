"""The live models of this process: by name and by channel.

A live model registers when its module is imported; the modules `live` of all apps are, once the apps are ready.
"""

from collections.abc import Callable, Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q, QuerySet

from flotilla.realtime.live.faults import name_faults
from flotilla.realtime.live.model import LiveModel

_known: dict[str, LiveModel] = {}
changes: list[Callable[[], None]] = []
"""Called when a live model came or went."""


def register(live: LiveModel) -> None:
    """Make a live model known. Raises ImproperlyConfigured where another class has its name."""
    other = _known.get(live.label)
    if other is not None and _home(other) != _home(live):
        raise ImproperlyConfigured(
            f"two live models are called {live.label}: {_home(other)} and {_home(live)}; give one another name"
        )
    _known[live.label] = live
    for tell in changes:
        tell()


def forget(live: LiveModel) -> None:
    """Take a live model out, as a test does with its own."""
    _known.pop(live.label, None)
    for tell in changes:
        tell()


def all_live() -> list[LiveModel]:
    """Every live model, by name."""
    return [_known[label] for label in sorted(_known)]


def all_sound() -> list[LiveModel]:
    """Those that can be used: a check says what is wrong with the others."""
    return [live for live in all_live() if not name_faults(live)]


def live_by_label(label: str) -> LiveModel | None:
    """The live model with this name in the outbox."""
    return _known.get(label)


def live_for_channel(channel: str) -> list[tuple[LiveModel, Q]]:
    """The live models whose rows a channel shows, each with what filters its `queryset()`."""
    return [(live, found) for live in all_sound() if (found := live.filter_of(channel)) is not None]


def rows_of(channel: str, using: str | None = None) -> list[tuple[LiveModel, "QuerySet[Any]"]]:
    """The live models whose rows a channel shows, each with those rows in the order of their primary keys."""
    return list(_rows(channel, using))


def _rows(channel: str, using: str | None) -> Iterator[tuple[LiveModel, "QuerySet[Any]"]]:
    for live, found in live_for_channel(channel):
        rows = live.queryset().filter(found).order_by("pk")
        yield live, rows if using is None else rows.using(using)


def _home(live: LiveModel) -> str:
    return f"{type(live).__module__}.{type(live).__qualname__}"
