"""History of any length, read a page at a time: all of it, once and in order, whatever happens meanwhile."""

from collections.abc import Sequence
from typing import Any

import pytest

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import pages
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.pages import TooLarge, read_all, read_all_sync
from flotilla.realtime.engine.publication import Page, Publication, StreamPosition
from flotilla.store import Store

OPTIONS = ChannelOptions(history_size=100, history_ttl=60, history_meta_ttl=7200)
ROOM = "room"
ALL = list(range(1, 24))


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four publications, or three of 100 bytes."""
    monkeypatch.setattr(pages, "MAX_PUBLICATIONS", 4)
    monkeypatch.setattr(pages, "MAX_BYTES", 350)


def offsets(page: Page) -> list[int]:
    return [one.offset for one in page.publications]


@pytest.mark.usefixtures("small_pages")
async def test_all_limits_from_all_places_both_ways(store: Store) -> None:
    """As one page without bounds would have it, for coroutines and for threads."""
    broker = Broker(store)
    for number in ALL:
        broker.publish_sync(ROOM, b"x" * (100 if number % 7 else 500), OPTIONS)
    for reverse in (False, True):
        for limit in (-1, 0, 1, 4, 5, 8, 22, 23, 24):
            for since in (None, 0, 1, 4, 11, 22, 23, 24):
                words: dict[str, Any] = {"limit": limit, "since": since, "reverse": reverse}
                whole = await broker.history(ROOM, OPTIONS, **words)
                assert await read_all(broker, ROOM, OPTIONS, **words) == whole, words
                assert read_all_sync(broker, ROOM, OPTIONS, **words) == whole, words
    assert offsets(await read_all(broker, ROOM, OPTIONS, limit=-1, since=None, reverse=False)) == ALL


class Told(Broker):
    """A broker whose pages are told beforehand: first and last offset, top, epoch."""

    def __init__(self, found: Sequence[tuple[int, int, int, str]]) -> None:
        self.found = list(found)
        self.asked: list[int | None] = []

    def history_sync(self, channel: str, options: Any, **keywords: Any) -> Page:
        self.asked.append(keywords["since"])
        first, last, top, epoch = self.found.pop(0)
        step = -1 if keywords["reverse"] else 1
        found = tuple(Publication(offset, b"{}") for offset in range(first, last + step, step))
        return Page(StreamPosition(epoch, top), found)


@pytest.mark.parametrize(
    ("told", "reverse", "expected"),
    [
        ([(1, 4, 8, "a"), (5, 8, 9, "a"), (9, 9, 9, "a")], False, list(range(1, 9))),  # one more came
        ([(1, 4, 9, "a"), (7, 9, 12, "a")], False, [7, 8, 9]),  # three came, and a page was trimmed
        ([(1, 4, 9, "a"), (20, 23, 23, "a")], False, [1, 2, 3, 4]),  # all that was there
        ([(9, 6, 9, "a"), (5, 4, 12, "a")], True, [9, 8, 7, 6, 5, 4]),  # what is trimmed ends it
        ([(1, 4, 9, "a"), (1, 2, 2, "b"), (1, 2, 2, "b")], False, [1, 2]),  # another stream
    ],
)
@pytest.mark.usefixtures("small_pages")
def test_what_happens_between_two_pages(
    told: list[tuple[int, int, int, str]], reverse: bool, expected: list[int]
) -> None:
    broker = Told(told)
    page = read_all_sync(broker, ROOM, OPTIONS, limit=-1, since=None, reverse=reverse)
    assert offsets(page) == expected
    assert page.top == (told[-1][3], told[0][2] if told[-1][3] == "a" else 2)


@pytest.mark.usefixtures("small_pages")
def test_another_stream_is_read_from_where_was_asked(store: Store) -> None:
    broker = Told([(6, 9, 20, "a"), (6, 7, 7, "b"), (6, 7, 7, "b")])
    page = read_all_sync(broker, ROOM, OPTIONS, limit=-1, since=5, reverse=False)
    assert broker.asked == [5, 9, 5]
    assert (offsets(page), page.top) == ([6, 7], ("b", 7))


async def test_an_answer_has_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_BYTES", 1000)
    broker = Broker(store)
    for _ in range(11):
        broker.publish_sync(ROOM, b"x" * 100, OPTIONS)
    assert len((await read_all(broker, ROOM, OPTIONS, limit=10, since=None, reverse=False)).publications) == 10
    with pytest.raises(TooLarge):
        await read_all(broker, ROOM, OPTIONS, limit=-1, since=None, reverse=False)
    with pytest.raises(TooLarge):
        read_all_sync(broker, ROOM, OPTIONS, limit=-1, since=None, reverse=True)
