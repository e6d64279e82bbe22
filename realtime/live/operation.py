"""One operation on rows of a live model: where they were shown before it, what they are after it, and what is written.

Of each row the newest state is written as `set` where it is shown, and `remove` where it was shown and is no more.
More than `live_bulk_max` changes of one channel become one `reload`; rows whose channels are all reloaded are not
rendered. Whoever uses it is in a transaction.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from django.db import transaction

from flotilla.realtime.conf import get_config
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.places import NOWHERE, Place, Places
from flotilla.realtime.live.reading import locked, pages, present
from flotilla.realtime.outbox.rows import Change, write_changes, write_set

MOST_REMEMBERED = 10_000
"""Rows whose former places are kept in memory; those of further rows are written down as removes at once, which what is
found later replaces."""


watchers: list[Callable[[str, Change], Callable[[], object]]] = []
"""Told of each change that is written, with the alias of its database; what one returns is called after the commit."""


def _tell(using: str, changes: Iterable[Change]) -> None:
    for watcher in watchers:
        for one in changes:
            transaction.on_commit(watcher(using, one), using=using, robust=True)


def write_shown(live: LiveModel, place: Place, data: bytes, using: str, *, ends: bool) -> None:
    """Write that a row is shown in one place, and was in no other. `ends`: the transaction ends with it."""
    channel, key = place
    write_set(channel, key, live=live.label, body=data, using=using, ends=ends)
    if watchers:
        _tell(using, (Change(channel, key, "set", live.label, data),))


class Operation:
    """What one operation changes of a live model's rows in one database."""

    def __init__(self, live: LiveModel, using: str, *, remembers_all: bool = False) -> None:
        self.live = live
        self._most_remembered = sys.maxsize if remembers_all else MOST_REMEMBERED
        self.using = using
        self._most = get_config().live_bulk_max
        self._before: dict[Any, Places] = {}
        self._counts: Counter[str] = Counter()
        self._reloaded: set[str] = set()
        self._changes: list[Change] = []

    def before(self, keys: Iterable[Any], *, deleting: bool = False) -> list[Any]:
        """Lock these rows and note where they are shown; returns the keys of those that are there."""
        found: list[Any] = []
        for page in pages(keys):
            places = locked(self.live, page, self.using, deleting=deleting)
            found.extend(places)
            if len(self._before) >= self._most_remembered:
                for shown in places.values():
                    self.removed_from(shown)
                self.write()
            else:
                self._before.update(places)
        return found

    def knows(self, key: Any) -> bool:
        """Whether it is noted where this row was shown."""
        return key in self._before

    def after(self, keys: Iterable[Any]) -> None:
        """Look at these rows again, and write what changed."""
        for page in pages(keys):
            found = {one.pk: one for one in present(self.live, self._worth(page), self.using)}
            for key in page:
                old = self._before.pop(key, NOWHERE)
                if (one := found.get(key)) is not None:
                    self.shown(old, one.places, one.body)
                else:
                    self.removed_from(old)
            self.write()

    def gone(self, keys: Iterable[Any]) -> None:
        """These rows are deleted."""
        for key in keys:
            self.removed_from(self._before.pop(key, NOWHERE))
            if len(self._changes) >= self._most:
                self.write()

    def shown(self, old: Places, new: Places, data: bytes | None) -> None:
        """A row is shown in `new` with this data, and was in `old`."""
        self.removed_from(old - new)
        for place in new:
            self._note(place, "set", data)

    def removed_from(self, places: Places) -> None:
        """A row is shown there no more."""
        for place in places:
            self._note(place, "remove", None)

    def reload(self, channels: Iterable[str]) -> None:
        """All rows of these channels are to be loaded anew."""
        for channel in channels:
            if channel not in self._reloaded:
                self._reloaded.add(channel)
                self._changes.append(Change(channel, "", "reload", self.live.label))

    def write(self) -> None:
        """Write what was noted to the outbox."""
        if self._changes:
            changes, self._changes = self._changes, []
            write_changes(changes, using=self.using)
            _tell(self.using, changes)

    def _note(self, place: Place, operation: Any, data: bytes | None) -> None:
        channel, key = place
        if channel in self._reloaded:
            return
        self._counts[channel] += 1
        if self._counts[channel] > self._most:
            self.reload([channel])
        else:
            self._changes.append(Change(channel, key, operation, self.live.label, data))

    def _worth(self, page: list[Any]) -> list[Any]:
        """Those of a page that are shown anywhere but where all is loaded anew."""
        if not self._reloaded:
            return page
        places = locked(self.live, page, self.using)
        return [key for key in page if any(channel not in self._reloaded for channel, _ in places.get(key, NOWHERE))]
