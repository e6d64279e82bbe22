"""The feeder: a subscription that has missed much is given it at the pace at which its client reads.

A feed belongs to one subscription. It writes what was missed in order, a piece at a time, while little waits at the
client's socket. What is published meanwhile waits behind it, in memory as far as there is room, else it is read from
history later. When nothing is missing any more, the subscription follows the channel as all others do. Where history
no longer has what is missing, the client is told: nothing is ever left out silently.

The feeds of one connection take turns, so that together they have no more bytes waiting than one alone. Replies and
pings do not wait for what the feeds have not written yet.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from flotilla.realtime.engine import pages
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.engine.pace import Pace
from flotilla.realtime.engine.pending import Conflated, Pending, Waiting
from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.engine.subscription import Subscriber, Subscription
from flotilla.realtime.protocol import bodies
from flotilla.realtime.protocol.frames import Frame
from flotilla.store import Backoff, StoreUnavailable

logger = logging.getLogger("flotilla.realtime.feeder")

TICK = 0.02  # seconds between looks at the sockets
TURN = 0.005  # seconds of work before the event loop does other work
PIECE = 16 * 1024  # bytes written as one message
AT_ONCE = 64 * 1024  # bytes that may wait at a socket before a channel that conflates begins to leave things out
MAX_PER_LOOK = 256 * 1024  # bytes written to one connection between two looks
MAX_READS = 8  # pages of history asked for at the same time, by all connections
QUIET_WITHIN = 1.0  # seconds for which feeds write nothing while commands are under way
MAX_NEWER = 1024  # keys of which history has older publications only, to be left out when it is read
STALLED = 20.0  # seconds after which a client that reads nothing is dropped
REFILL_PATIENCE = 2.0  # seconds a channel's refill waits for slow connections, in all


class Feed:
    """What one subscription is still to be given. `covered`: everything up to there was written or is in `pending`."""

    __slots__ = ("_newer", "channel", "covered", "line", "pending", "reading", "subscription")

    def __init__(self, channel: LocalChannel, subscription: Subscription, line: "Line", since: int) -> None:
        self.channel = channel
        self.subscription = subscription
        self.line = line
        self.covered = since
        self.pending: Waiting = Conflated() if channel.conflates else Pending()
        self.reading = False
        self._newer: dict[bytes, int] = {}  # keys of which history has nothing newer up to this offset

    @property
    def open(self) -> bool:
        """Whether the subscription is still there, and this is its feed."""
        return self.channel.feeds.get(self.subscription) is self

    @property
    def given(self) -> int:
        """The offset up to which everything was written."""
        return self.pending.first().offset - 1 if self.pending else self.covered

    @property
    def behind(self) -> bool:
        """Whether what follows has to be read from history."""
        return self.covered < self.channel.position.offset

    def offer(self, publication: Publication) -> None:
        """Take a publication if it is the next one and there is room for it; else it is read from history later, or,
        where history will not have it, the client is too slow."""
        if not publication.offset:
            self.offer_unkept(publication, self.channel.position.offset)
        elif publication.offset == self.covered + 1 and self.has_room(publication):
            self.take(publication)

    def offer_unkept(self, publication: Publication, reached: int) -> None:
        """As `offer`, for what history will not have. It came when the stream had `reached` that offset: what is still
        to be read of its key up to there is older."""
        if not self.channel.followers.wants(self.subscription, publication):
            return
        if self.covered < reached and (key := bodies.key_of(publication.body)):
            self._newer[key] = reached
        if self.has_room(publication) and len(self._newer) <= MAX_NEWER:
            self.take(publication)
        else:
            logger.info("a client reads too slowly for the keys of its channel")
            self.subscription.subscriber.too_slow()

    def _is_replaced(self, publication: Publication) -> bool:
        return 0 < publication.offset <= self._newer.get(bodies.key_of(publication.body), 0)

    def has_room(self, publication: Publication) -> bool:
        """Whether a publication may wait in memory. What the filter does not want takes no room."""
        size = len(publication.body) - self.pending.freed_by(publication)
        return self.line.held + size <= self.line.max_held or not self.channel.followers.wants(
            self.subscription, publication
        )

    def take(self, publication: Publication) -> None:
        """The next publication, whatever its size."""
        replaced = self._newer and self._is_replaced(publication)
        if not replaced and self.channel.followers.wants(self.subscription, publication):
            before = self.pending.bytes
            self.pending.add(publication)
            self.line.held += self.pending.bytes - before
        self.covered = publication.offset or self.covered
        if self._newer and publication.offset and not self.behind:
            self._newer.clear()

    def take_missed(self, publications: Iterable[Publication], offset: int) -> None:
        """What was missed up to `offset`, as far as there is room; the rest is read from history later."""
        for publication in publications:
            if not self.has_room(publication):
                return
            self.take(publication)
        self.covered = offset

    def skip_to(self, offset: int) -> None:
        """What is missing up to there is lost; what follows may be of another stream."""
        self._newer.clear()
        self.covered = offset

    def forget(self) -> None:
        """Nothing waits any more."""
        self.line.held -= self.pending.bytes
        self.pending.clear()


class Line:
    """The feeds of one connection, in turn. `held` bytes of publications wait in memory for all of them together."""

    __slots__ = ("busy_since", "feeds", "held", "max_held", "pace", "subscriber")

    def __init__(self, subscriber: Subscriber, max_held: int, pace: Pace) -> None:
        self.subscriber = subscriber
        self.feeds: deque[Feed] = deque()
        self.held = 0
        self.max_held = max_held
        self.pace = pace
        self.busy_since: float | None = None

    def yields_to_commands(self, now: float) -> bool:
        """Whether to write nothing, so that replies to commands under way go first: the client waits a limited time."""
        if not self.subscriber.busy:
            self.busy_since = None
            return False
        if self.busy_since is None:
            self.busy_since = now
        return now < self.busy_since + QUIET_WITHIN

    def remove_closed(self) -> None:
        """Forget the feeds of subscriptions that are gone."""
        for feed in [feed for feed in self.feeds if not feed.open]:
            feed.forget()
            self.feeds.remove(feed)


class Feeder:
    """All feeds of a process. Runs only while there are any; `max_unsent` is a connection's bound in bytes."""

    def __init__(self, broker: Broker, *, max_unsent: int, max_joined: int) -> None:
        self.room = max_unsent // 4  # bytes that may wait at a socket before a page of a refill is written to it
        self.at_once = min(AT_ONCE, self.room)
        self.page = max_unsent // 8  # bytes of history read at a time
        self._broker = broker
        self._max_held = max_unsent // 2
        self._max_window = max_unsent // 2
        self._piece = min(PIECE, max_joined)
        self._lines: dict[Subscriber, Line] = {}
        self._loop = asyncio.get_running_loop()
        self._reads = asyncio.Semaphore(MAX_READS)
        self._running: asyncio.Task[None] | None = None
        self._reading: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop; what was not written yet is not written any more."""
        tasks = [*self._reading, *filter(None, [self._running])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lines.clear()

    def release(
        self, channel: LocalChannel, subscription: Subscription, offset: int, missed: Iterable[Publication] = ()
    ) -> None:
        """The subscribe reply was sent. It covers everything up to `offset` but what was `missed`: that follows, then
        what was held back, then what is published."""
        missed = tuple(missed)
        if not missed and not self._too_much(channel, subscription):
            channel.release(subscription, offset)
            return
        held, subscription.held = subscription.held or [], None
        feed = self._begin(channel, subscription, missed[0].offset - 1 if missed else offset)
        feed.take_missed(missed, offset)
        for item in held:
            if isinstance(item, Publication) and item.offset:
                feed.offer(item)
                offset = max(offset, item.offset)
            elif isinstance(item, Frame):
                channel.followers.send(subscription.subscriber.socket, item)
            elif channel.conflates:
                feed.offer_unkept(item, offset)
            elif channel.followers.wants(subscription, item):
                channel.followers.give(subscription, (item,))

    def _too_much(self, channel: LocalChannel, subscription: Subscription) -> bool:
        held = sum(len(item.body) for item in subscription.held or () if isinstance(item, Publication))
        return channel.history and held > self._piece and held + subscription.subscriber.socket.waiting > self.room

    async def make_room(self, channel: LocalChannel, size: int, give_up: float) -> None:
        """Before `size` bytes of a refill are written to all subscribers: wait for those with much unread, until
        `give_up` (loop time) at most. Those that are slower are fed from here on, each at its own pace.

        A small gap waits for nobody.
        """
        max_waiting = self.room - min(size, self.page)  # one publication may be larger than a page
        while True:
            full = [one for one, socket in channel.followers.sockets() if socket.waiting > max_waiting]
            if not full:
                return
            if size <= PIECE or self._loop.time() >= give_up:
                break
            await asyncio.sleep(TICK)
        for subscription in full:
            self._begin(channel, subscription, max(channel.position.offset, subscription.floor))

    def conflate(self, channel: LocalChannel, subscription: Subscription) -> None:
        """A subscription of a channel that conflates has too much unread: it is fed from here on."""
        self._begin(channel, subscription, max(channel.position.offset, subscription.floor))

    def _begin(self, channel: LocalChannel, subscription: Subscription, since: int) -> Feed:
        subscriber = subscription.subscriber
        line = self._lines.get(subscriber)
        if line is None:
            pace = Pace(self._loop.time(), self._max_window)
            line = self._lines[subscriber] = Line(subscriber, self._max_held, pace)
        feed = Feed(channel, subscription, line, since)
        channel.detach(subscription, feed)
        line.feeds.append(feed)
        if self._running is None:
            self._running = self._loop.create_task(self._run())
        return feed

    # Writing

    async def _run(self) -> None:
        """Serve every line again and again, for half of the process's time at most."""
        try:
            while self._lines:
                began = self._loop.time()
                try:
                    await self._look()
                except Exception:
                    logger.exception("the feeder failed")
                await asyncio.sleep(max(TICK, self._loop.time() - began))
        finally:
            self._running = None

    async def _look(self) -> None:
        turn = self._loop.time()
        for subscriber, line in list(self._lines.items()):
            self._serve(line)
            if not line.feeds:
                del self._lines[subscriber]
            if self._loop.time() - turn > TURN:
                await asyncio.sleep(0)
                turn = self._loop.time()

    def _serve(self, line: Line) -> None:
        try:
            line.remove_closed()
            if line.feeds:
                self._write(line)
        except Exception:
            logger.exception("a connection could not be fed")
            for feed in list(line.feeds):
                self._lose(feed)
            line.feeds.clear()

    def _write(self, line: Line) -> None:
        """Give a connection as much as it has room for."""
        now, pace = self._loop.time(), line.pace
        room = min(MAX_PER_LOOK, pace.look(line.subscriber.socket.waiting, now))
        if pace.stalled(now) > STALLED:
            logger.info("a client has read nothing for %d s", STALLED)
            line.subscriber.too_slow()
            return
        if line.yields_to_commands(now):
            return
        idle = 0  # feeds in a row that have nothing to write now
        while line.feeds and room > 0 and idle < len(line.feeds):
            feed = line.feeds.popleft()
            if not feed.open:
                feed.forget()
            elif feed.pending:
                room -= self._write_piece(feed)
                line.feeds.append(feed)
                idle = 0
            elif feed.behind:
                self._read_on(feed)
                line.feeds.append(feed)
                idle += 1
            else:
                feed.channel.attach(feed.subscription, feed.covered)

    def _write_piece(self, feed: Feed) -> int:
        piece: list[Publication] = []
        size = 0
        while feed.pending and (not piece or size + len(feed.pending.first().body) <= self._piece):
            publication = feed.pending.take()
            feed.line.held -= len(publication.body)
            piece.append(publication)
            size += len(publication.body)
        written = feed.channel.followers.give(feed.subscription, piece)
        feed.line.pace.wrote(written)
        feed.channel.traffic.delivered += len(piece)
        return written

    # Reading

    def _read_on(self, feed: Feed) -> None:
        """Read what follows, unless a feed of this connection is reading: it has one page in memory at a time."""
        if not any(one.reading for one in (feed, *feed.line.feeds)):
            feed.reading = True
            task = self._loop.create_task(self._read(feed))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def _read(self, feed: Feed) -> None:
        """Try until it succeeds or the feed is closed, for no other task would try again."""
        backoff = Backoff()
        try:
            while feed.open:
                since = feed.covered
                try:
                    async with self._reads:
                        piece = await pages.read_on(self._broker, feed.channel, since, self.page)
                except StoreUnavailable as error:
                    logger.warning("what a client missed cannot be read: %s", error)
                except Exception:
                    logger.exception("what a client missed cannot be read")
                else:
                    if feed.covered != since:
                        continue  # it was set to another offset meanwhile
                    self._add(feed, piece)
                    return
                await asyncio.sleep(backoff.next())
        finally:
            feed.reading = False

    def _add(self, feed: Feed, piece: pages.Piece) -> None:
        if not feed.open:
            return
        if not pages.continues(feed.channel, feed.covered, piece):
            self._lose(feed)
            return
        for publication in piece.publications:
            feed.take(publication)
        feed.covered = max(feed.covered, piece.last)  # where a channel's newest publication says it all

    def _lose(self, feed: Feed) -> None:
        """History no longer has what follows: a subscription that relies on positions is told, another goes on."""
        subscription = feed.subscription
        feed.forget()
        feed.skip_to(feed.channel.position.offset)
        if subscription.positioned or subscription.recoverable:
            logger.info("a client read more slowly than the history of its channel was trimmed")
            subscription.broken = True
            subscription.subscriber.lose_position(subscription)
            feed.channel.feeds.pop(subscription, None)
