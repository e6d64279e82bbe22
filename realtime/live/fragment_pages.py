"""Rows of a channel as HTML: all of them in pages, as `state` has their data, those with given keys, and as the page is
rendered that shows them.

With several live models in a channel, a template shows the rows of those that name it; one that nobody names shows all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import msgspec
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.live.entries import Entry
from flotilla.realtime.live.fragments import fragment, key_of, place_of
from flotilla.realtime.live.keys import with_keys
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.places import places_of_row
from flotilla.realtime.live.state import Asked, Shown, read, snapshot, turns, version_of
from flotilla.realtime.protocol import foreign

MOST_KEYS = 50
"""Rows that are asked for by their keys at a time."""
MOST_IN_PAGE = 2000
"""Rows that `{% live %}` renders into a page; where there are more, the script loads them."""


@dataclass(frozen=True, slots=True)
class Look:
    """How rows are shown: with which templates, and for whom."""

    channel: str
    templates: Sequence[str]
    request: HttpRequest | None

    def html(self, live: LiveModel, row: Model, naming: frozenset[str]) -> dict[str, str]:
        """The row in each template, "" where it is not shown. `naming`: templates that a live model of the channel
        names."""
        return {one: self._in(one, live, row, naming) for one in self.templates}

    def _in(self, template: str, live: LiveModel, row: Model, naming: frozenset[str]) -> str:
        if template in live.templates:
            return fragment(live, row, template)
        return "" if template in naming else fragment(live, row, template, self.request)


class Beginning(NamedTuple):
    """What a page begins with: the rows in their order, and what they are as of. `version` 0 with `complete` False:
    the rest is loaded."""

    rows: list[str]
    version: int
    complete: bool


def beginning(look: Look, alias: str, shown: Shown) -> Beginning:
    """The rows as they are now, with the look's first template, for the page that shows them."""
    (template,) = look.templates
    naming = _naming(shown)
    with snapshot(alias):
        version = version_of(look.channel, alias)
        found: list[tuple[str, str, str]] = []
        complete = True
        for live, rows in shown:
            some = list(rows[: MOST_IN_PAGE - len(found) + 1])
            complete = complete and len(found) + len(some) <= MOST_IN_PAGE
            for row in _in_channel(live, some, look.channel):
                if html := look.html(live, row, naming)[template]:
                    found.append((place_of(live, row), key_of(live, row), html))
    return Beginning([html for _, _, html in sorted(found)], version, complete)


def all_rows(look: Look, asked: Asked, alias: str, shown: Shown, position: StreamPosition) -> bytes:
    """A page of all rows, with what `state` says beside them. Raises as that does."""
    with turns.one():
        _, body = read(asked, alias, shown, position, partial(_entries, look, _naming(shown)))
    return body


def some_rows(look: Look, keys: Sequence[str], alias: str, shown: Shown) -> bytes:
    """The rows with these keys, those that are in the channel, and the version that they are as of. Raises Busy."""
    naming = _naming(shown)
    with turns.one(), snapshot(alias):
        version = version_of(look.channel, alias)
        rows = [
            entry.shown
            for live, every in shown
            for entry in _entries(look, naming, live, with_keys(live, every, keys))
            if (look.channel, entry.key) in entry.places
        ]
    return foreign.write({"version": version, "rows": rows})


def _entries(look: Look, naming: frozenset[str], live: LiveModel, rows: "QuerySet[Any]") -> list[Entry]:
    found = []
    for row in rows:
        html = look.html(live, row, naming)
        size = sum(map(len, html.values()))
        members = {"html": msgspec.Raw(foreign.write(html))}
        found.append(Entry(row.pk, key_of(live, row), places_of_row(live, row), members, size))
    return found


def _in_channel(live: LiveModel, rows: Sequence[Any], channel: str) -> Iterator[Any]:
    return (row for row in rows if (channel, key_of(live, row)) in places_of_row(live, row))


def _naming(shown: Shown) -> frozenset[str]:
    return frozenset(template for live, _ in shown for template in live.templates)
