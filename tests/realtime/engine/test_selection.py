"""Filters are asked once, whoever has them."""

from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.engine.selection import Selection
from flotilla.realtime.protocol.filters import Filter, Tags
from flotilla.realtime.protocol.replies import publication_body


class Counted(Filter):
    """Wants a colour, and counts how often it was asked."""

    def __init__(self, colour: str) -> None:
        super().__init__((colour,), self._matches)
        self.colour = colour
        self.asked = 0

    def _matches(self, tags: Tags) -> bool:
        self.asked += 1
        return tags.get("colour") == self.colour


def coloured(offset: int, *colours: str) -> Publication:
    return Publication(offset, publication_body(b"1", None, {"colour": colours[0]} if colours else None))


def test_each_filter_is_asked_once_about_a_publication() -> None:
    red, also_red, blue = Counted("red"), Counted("red"), Counted("blue")
    selection, publication = Selection(), coloured(1, "red")
    for _ in range(3):
        assert selection.wants(red, publication) and selection.wants(also_red, publication)
        assert not selection.wants(blue, publication)
        assert selection.wants(None, publication)
    assert (red.asked, also_red.asked, blue.asked) == (1, 0, 1)
    assert not selection.wants(red, coloured(2, "blue"))
    assert red.asked == 2


def test_what_each_filter_wants_of_several() -> None:
    red, blue = Counted("red"), Counted("blue")
    publications = [coloured(1, "red"), coloured(2), coloured(3, "blue"), coloured(4, "red")]
    chosen = Selection().chosen([None, red, blue, red], publications)
    assert chosen == {red: [0, 3], blue: [2]}
    assert red.asked == blue.asked == 4


def test_where_nobody_filters_no_tags_are_read() -> None:
    assert Selection().wants(None, Publication(1, b"no JSON"))
