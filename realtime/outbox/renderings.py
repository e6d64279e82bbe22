"""What a batch's rows without a body say: rendered page by page, as they are needed.

What is rendered may be newer than the change that its row was written for. So that no older state follows, rows of the
same key that are in the batch behind it are rendered as well; those behind the batch lose their bodies (`renderers`).
"""

from collections.abc import Iterable, Sequence
from itertools import islice

from django.db import DatabaseError, InterfaceError

from flotilla.realtime.outbox import renderers
from flotilla.realtime.outbox.renderers import Place, Rendering
from flotilla.realtime.outbox.waiting import Row

PAGE = 100
"""Rows that are rendered together; in between, whoever sends looks at the time."""


class Renderings:
    """The rows of one batch. Those that have to be rendered are marked at once: `set`, without a body."""

    def __init__(self, rows: Sequence[Row], using: str) -> None:
        rendered: set[Place] = set()
        for row in rows:
            render_behind(row, rendered)
        self._using = using
        self._above = rows[0].position if rows else 0
        self._singly = False
        self._found: dict[Place, Rendering] = {}
        self._rest: dict[str, dict[Place, None]] = {}
        for row in _without_body(rows):
            self._rest.setdefault(row.live, {})[row.channel, row.key] = None

    def of(self, row: Row) -> tuple[str, bytes | None]:
        """The operation and the data of a row of the batch. Raises what rendering raises."""
        place = row.channel, row.key
        while place not in self._found:
            rest = self._rest[row.live]
            page = [place] if self._singly else list(islice(rest, PAGE))
            try:
                self._found.update(renderers.render(row.live, page, self._using, self._above))
            except (DatabaseError, InterfaceError):  # which says nothing about these rows
                raise
            except Exception:  # of a project's code, for one of them
                if len(page) == 1:
                    raise
                self._singly = True  # so that the others do not suffer for it
                continue
            for one in page:
                del rest[one]
        return self._found[place]


def render_behind(row: Row, rendered: set[Place]) -> None:
    """Mark a row that is behind one of the same place which is rendered: it is rendered, too."""
    place = (row.channel, row.key)
    if place in rendered and row.operation in ("set", "remove"):
        row.operation, row.body = "set", None
    elif row.operation == "set" and row.body is None:
        rendered.add(place)


def _without_body(rows: Iterable[Row]) -> Iterable[Row]:
    return (row for row in rows if row.operation == "set" and row.body is None)
