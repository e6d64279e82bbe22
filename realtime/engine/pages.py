"""Pages of a stream: what follows a position, read a part at a time.

A page is bounded in bytes as well as in number, for it is written to connections, each of which has a bound. One
publication that is larger than a page is a page of its own. Who wants more than a page is given it by `read_all`.
"""

from collections.abc import Generator
from dataclasses import dataclass

from flotilla.realtime.engine import recovery
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.calls import HistoryKeywords, StreamOptions
from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.engine.publication import Page, Publication, StreamPosition

MAX_PUBLICATIONS = 500  # of a page
MAX_BYTES = 1_048_576  # of a page of `read_all`: what one call has Redis read
MOST_BYTES = 64 * 1_048_576  # of all its pages together


@dataclass(frozen=True, slots=True)
class Piece:
    """A page, and the `last` offset that it covers: that of its last publication if more may follow, else the top."""

    top: StreamPosition
    publications: tuple[Publication, ...]
    last: int

    @property
    def bytes(self) -> int:
        """The size of its publications."""
        return sum(len(publication.body) for publication in self.publications)


async def read_on(broker: Broker, channel: LocalChannel, since: int, max_bytes: int) -> Piece:
    """What follows `since`, at most `max_bytes` of it but one publication at least. Raises StoreUnavailable."""
    page = await broker.history(channel.name, channel.options, since=since, limit=MAX_PUBLICATIONS, max_bytes=max_bytes)
    more = page.overflow or len(page.publications) >= MAX_PUBLICATIONS
    return Piece(page.top, page.publications, page.publications[-1].offset if more else page.top.offset)


def continues(channel: LocalChannel, since: int, piece: Piece) -> bool:
    """Whether a piece is what follows `since` in the stream that `channel` has been following, without a hole. Where
    the newest publication says all there is to know, a hole takes nothing from anybody."""
    if not channel.adopt(piece.top.epoch) or piece.top.offset < since:
        return False
    return channel.cached or recovery.complete(since, piece.publications, piece.last)


class TooLarge(Exception):
    """More was asked for than `MOST_BYTES`."""


async def read_all(
    broker: Broker, channel: str, options: StreamOptions, *, limit: int, since: int | None, reverse: bool
) -> Page:
    """`Broker.history` without a bound to a page: any `limit`, -1 for all. It is the stream as it was when the first
    page was read, but for what was trimmed meanwhile. Raises StoreUnavailable, and TooLarge."""
    reading = _pages(limit, since, reverse)
    keywords = next(reading)
    while True:
        try:
            keywords = reading.send(await broker.history(channel, options, **keywords))
        except StopIteration as read:
            return _read(read)


def read_all_sync(
    broker: Broker, channel: str, options: StreamOptions, *, limit: int, since: int | None, reverse: bool
) -> Page:
    """`read_all` for threads."""
    reading = _pages(limit, since, reverse)
    keywords = next(reading)
    while True:
        try:
            keywords = reading.send(broker.history_sync(channel, options, **keywords))
        except StopIteration as read:
            return _read(read)


def _read(end: StopIteration) -> Page:
    page: Page = end.value
    return page


def _pages(limit: int, since: int | None, reverse: bool) -> Generator[HistoryKeywords, Page, Page]:
    """Asks for page after page, and returns all of them as one."""
    top: StreamPosition | None = None
    behind, found, size = since, list[Publication](), 0
    while True:
        asked = MAX_PUBLICATIONS if limit < 0 else min(MAX_PUBLICATIONS, limit - len(found))
        page = yield {"limit": asked, "since": behind, "reverse": reverse, "max_bytes": MAX_BYTES}
        if top is not None and page.top.epoch != top.epoch:  # the stream began again
            top, behind, found, size = None, since, [], 0
            continue
        top = top or page.top
        more = page.overflow or len(page.publications) == asked
        publications = [one for one in page.publications if one.offset <= top.offset]
        if not reverse and found and publications and publications[0].offset != found[-1].offset + 1:
            found, size = [], 0  # trimmed up to here
        found += publications
        size += sum(len(one.body) for one in publications)
        if size > MOST_BYTES:
            raise TooLarge(f"more than {MOST_BYTES} bytes")
        if not (more and publications) or len(found) == limit:
            return Page(top, tuple(found))
        behind = found[-1].offset
