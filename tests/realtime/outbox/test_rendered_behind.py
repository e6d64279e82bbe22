"""Behind a row that is rendered when it is sent, no older state of its key follows."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from flotilla.realtime.outbox import renderers
from flotilla.realtime.outbox.renderings import PAGE, Renderings, render_behind
from flotilla.realtime.outbox.waiting import Row


def row(position: int, operation: str, body: bytes | None, key: str = "7", channel: str = "a") -> Row:
    return Row(position, channel, position, key, operation, "desk.TicketLive", body, {}, datetime.now(UTC), "", 0)


def test_what_is_behind_of_the_same_key_is_rendered_too() -> None:
    rows = [
        row(1, "set", b"1"),
        row(2, "set", None),
        row(3, "set", b"3"),
        row(4, "remove", None),
        row(5, "set", b"5", key="8"),
        row(6, "set", b"6", channel="b"),
        row(7, "reload", None, key=""),
    ]
    rendered: set[tuple[str, str]] = set()
    for one in rows:
        render_behind(one, rendered)
    assert [(one.operation, one.body) for one in rows] == [
        ("set", b"1"),
        ("set", None),
        ("set", None),
        ("set", None),
        ("set", b"5"),
        ("set", b"6"),
        ("reload", None),
    ]


class Renderer:
    """Renders each row as its key, but for one, and notes what it was asked together."""

    def __init__(self, bad: str = "") -> None:
        self.asked: list[int] = []
        self._bad = bad

    def __call__(
        self, live: str, places: Sequence[renderers.Place], using: str, above: int
    ) -> dict[renderers.Place, renderers.Rendering]:
        assert (live, using, above) == ("desk.TicketLive", "default", 1)
        self.asked.append(len(places))
        if self._bad in [key for _, key in places]:
            raise ValueError(self._bad)
        return {place: ("set", place[1].encode()) for place in places}


def a_batch() -> list[Row]:
    """More than a page of places, of which some have several rows."""
    return [row(number, "set", None, key=str(number % (PAGE + 50))) for number in range(1, 2 * PAGE)]


def test_rows_are_rendered_in_pages_and_each_place_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the first of them is needed."""
    renderer = Renderer()
    monkeypatch.setattr(renderers, "_render", [renderer])
    rows = a_batch()
    renderings = Renderings(rows, "default")
    assert renderer.asked == []
    assert [renderings.of(one) for one in rows] == [("set", one.key.encode()) for one in rows]
    assert renderer.asked == [PAGE, 50]


def test_a_row_that_cannot_be_rendered_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it would have been rendered with others."""
    monkeypatch.setattr(renderers, "_render", [Renderer(bad="3")])
    rows = a_batch()
    renderings = Renderings(rows, "default")
    good = [one for one in rows if one.key != "3"]
    assert [renderings.of(one) for one in good] == [("set", one.key.encode()) for one in good]
    with pytest.raises(ValueError, match="3"):
        renderings.of(rows[2])
