"""What follows a position in a channel's stream, read a page at a time.

A page is bounded in bytes as well as in number: whoever reads it writes it to connections, each of which has a bound.
One publication that is larger than a page is a page of its own, so that it is in nobody's way.
"""

from dataclasses import dataclass

from realtime.engine import recovery
from realtime.engine.broker import Broker
from realtime.engine.local_channel import LocalChannel
from realtime.engine.publication import Page, Publication, StreamPosition

MOST_PUBLICATIONS = 500  # of a page
FEWER = 4  # when a page had too many bytes, the next try is for so many times fewer


@dataclass(frozen=True, slots=True)
class Piece:
    """A page, and up to which offset it says what there is: its last one where more may follow, else the top."""

    top: StreamPosition
    publications: tuple[Publication, ...]
    last: int

    @property
    def bytes(self) -> int:
        """The size of its publications."""
        return sum(len(publication.body) for publication in self.publications)


async def read_on(broker: Broker, channel: LocalChannel, since: int, most_bytes: int) -> Piece:
    """What follows `since`, at most `most_bytes` of it but one publication at least. Raises StoreUnavailable."""
    limit = MOST_PUBLICATIONS
    while True:
        bound = most_bytes if limit > 1 else 0
        page = await broker.history(channel.name, channel.options, since=since, limit=limit, max_bytes=bound)
        if not page.overflow or page.publications:
            return _piece(page, limit)
        limit = max(1, limit // FEWER)


def _piece(page: Page, limit: int) -> Piece:
    more = page.overflow or len(page.publications) >= limit
    return Piece(page.top, page.publications, page.publications[-1].offset if more else page.top.offset)


def continues(channel: LocalChannel, since: int, piece: Piece) -> bool:
    """Whether a piece is what follows `since` in the stream that `channel` has been following, without a hole."""
    if piece.top.epoch != channel.position.epoch or piece.top.offset < since:
        return False
    return recovery.complete(since, piece.publications, piece.last)
