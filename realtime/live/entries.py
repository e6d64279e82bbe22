"""A row as a page of a channel has it, whatever the page says of it: its data, or its HTML."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import QuerySet

from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.places import Places


class Entry(NamedTuple):
    """A row of a page: its primary key, its key in a channel, where it is shown, what is said of it beside its key, and
    how many bytes that is."""

    pk: Any
    key: str
    places: Places
    members: Mapping[str, Any]
    size: int

    @property
    def shown(self) -> dict[str, Any]:
        """The row in an answer."""
        return {"key": self.key, **self.members}


Entries = Callable[[LiveModel, "QuerySet[Any]"], Sequence[Entry]]
"""Reads rows of `queryset()`, in their order."""
