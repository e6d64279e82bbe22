"""What a client is given for what it missed, read from history.

In a stream that is all of it or nothing. Where a namespace recovers from its cache it is the newest publication, and in
one that conflates the newest of each key. Publications that the subscription's filter does not want are left out.
"""

from typing import Any

from flotilla.realtime.client.node import Node
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import recovery
from flotilla.realtime.engine.pending import Conflated
from flotilla.realtime.engine.publication import Page, StreamPosition
from flotilla.realtime.engine.recovery import Recovery
from flotilla.realtime.engine.subscription import Subscription

PAGE = 500  # publications read at a time where they are conflated
MAX_PAGES = 16


class Recoverer:
    """Reads for one subscription, whose channel has these options. Every method raises StoreUnavailable."""

    def __init__(self, node: Node[Any], subscription: Subscription, options: ChannelOptions) -> None:
        self._node = node
        self._subscription = subscription
        self._options = options
        self._limit = node.config.recovery_max_publications
        self._max_bytes = node.config.recovery_max_bytes

    async def missed(self, position: StreamPosition | None) -> tuple[StreamPosition, Recovery]:
        """The stream's top, and what the client gets that has everything up to `position`. None, for one that has
        nothing, is for where the newest is all it needs."""
        if self._options.force_recovery_mode == "cache":
            top, found = await self._newest(position)
        elif position is None:
            raise ValueError("a stream is recovered from a position")
        elif self._options.conflate:
            top, found = await self._conflated(position)
        else:
            top, found = await self._all(position)
        self._node.hub.compare(self._subscription.channel, top)
        self._node.stats.recoveries[found.reason or "recovered"] += 1
        return top, found

    async def _all(self, position: StreamPosition) -> tuple[StreamPosition, Recovery]:
        page = await self._node.broker.history(
            self._subscription.channel,
            self._options,
            since=position.offset,
            limit=self._limit + 1,
            max_bytes=self._max_bytes,
            whole=True,
        )
        found = recovery.recover(position, page, self._limit, self._options.history_meta_ttl)
        wanted = tuple(filter(self._subscription.wants, found.publications))
        return page.top, Recovery(found.recovered, wanted, found.reason)

    async def _newest(self, position: StreamPosition | None) -> tuple[StreamPosition, Recovery]:
        limit = 1 if self._subscription.view.filter is None else self._limit
        page = await self._node.broker.history(
            self._subscription.channel, self._options, limit=limit, reverse=True, max_bytes=self._max_bytes
        )
        wants, meta_ttl = self._subscription.wants, self._options.history_meta_ttl
        return page.top, recovery.newest(position, page, meta_ttl, wants)

    async def _conflated(self, position: StreamPosition) -> tuple[StreamPosition, Recovery]:
        """Page by page, for a client may have missed far more than it is given."""
        newest, since = Conflated(), position
        for _ in range(MAX_PAGES):
            page = await self._page(since.offset)
            last = page.publications[-1].offset if self._more(page) else page.top.offset
            if fault := self._fault(since, page, last):
                return page.top, Recovery(False, reason=fault)
            for publication in filter(self._subscription.wants, page.publications):
                newest.add(publication)
            if len(newest) > self._limit or newest.bytes > self._max_bytes:
                break
            if last == page.top.offset:
                return page.top, Recovery(True, tuple(newest))
            since = StreamPosition(page.top.epoch, last)
        return page.top, Recovery(False, reason="limit")

    async def _page(self, since: int) -> Page:
        return await self._node.broker.history(
            self._subscription.channel, self._options, since=since, limit=PAGE, max_bytes=self._max_bytes
        )

    @staticmethod
    def _more(page: Page) -> bool:
        return page.overflow or len(page.publications) >= PAGE

    def _fault(self, since: StreamPosition, page: Page, last: int) -> str:
        """Why a page is not what follows; "" where it is."""
        part = Page(StreamPosition(page.top.epoch, last), page.publications)
        if since.offset > page.top.offset:
            part = page
        return recovery.recover(since, part, PAGE, self._options.history_meta_ttl).reason
