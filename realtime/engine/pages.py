"""Pages of a stream: what follows a position, read a part at a time.

A page is bounded in bytes as well as in number, for it is written to connections, each of which has a bound. One
publication that is larger than a page is a page of its own.
"""

from dataclasses import dataclass

from flotilla.realtime.engine import recovery
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.engine.publication import Publication, StreamPosition

MAX_PUBLICATIONS = 500  # of a page


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
