"""The hub: one per process. It holds the process's only mailbox and turns what arrives there into deliveries.

A channel is joined at the layer while it has local subscribers. It is live only when a nonce came back through its
group, carrying the stream's top: what follows is then provably everything above that top. Publications go out in offset
order; whatever is missing is fetched from history first, and where history no longer has it, subscribers are told.

A channel that is not settled (not live, or waiting for a nonce) always has a living task that works on it: `_see_to`
is called at every change of its state and at the end of every such task, and starts what is missing.
"""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from flotilla.realtime.engine import envelope, feeder, pages
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.calls import StreamOptions
from flotilla.realtime.engine.feeder import Feeder
from flotilla.realtime.engine.layer import LAYER_FAULTS, LoopLayer
from flotilla.realtime.engine.local_channel import Flow, LocalChannel
from flotilla.realtime.engine.pages import Piece
from flotilla.realtime.engine.publication import Publication, StreamPosition
from flotilla.realtime.engine.stats import HubStats
from flotilla.realtime.engine.subscription import Subscription
from flotilla.store import Backoff, StoreUnavailable, place, supervised
from flotilla.store.once import Once

logger = logging.getLogger("flotilla.realtime.hub")

CONFIRM_WITHIN = 4.0  # seconds a subscriber waits; clients give up after 5
FIRST_NONCE_AGAIN = 0.25  # seconds until an unanswered nonce is sent again
LINGER = 2.0  # seconds a channel without subscribers stays joined
RESYNC_AT_ONCE = 256  # channels of a shard being confirmed again at the same time
STATES = ("confirming", "refilling", "reconfirming")  # of channels that are not settled

ChannelControl = Callable[[bytes], None]


class NotLive(Exception):
    """A channel could not be confirmed in time: Redis or the layer's connection is away."""


class Hub:
    """Local subscribers by channel. Call `start` first, `close` at the end; everything runs in one event loop."""

    def __init__(
        self,
        layer: LoopLayer,
        broker: Broker,
        *,
        check_interval: float,
        max_joined: int,
        max_unsent: int = 1048576,
    ) -> None:
        self.channels: dict[str, LocalChannel] = {}
        self.delivered = 0
        self.stats = HubStats(broker.store)
        self.feeder = Feeder(broker, max_unsent=max_unsent, max_joined=max_joined, count=self._fed)
        self._layer = layer
        self._broker = broker
        self._check_interval = check_interval
        self._max_joined = max_joined
        self._received_at = 0.0  # when the batch that is being handled came
        self._delivered_to: dict[LocalChannel, list[int | None]] = {}  # what is to be written, with Redis's stamps
        self._mailbox = ""
        self._opened = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._resyncing = [asyncio.Semaphore(RESYNC_AT_ONCE) for _ in broker.store.shards]
        self._once = Once()
        self._closed = False
        broker.on_position = self._note
        self.on_control: ChannelControl | None = None
        self.on_beat: Callable[[int, int], None] | None = None

    async def start(self) -> None:
        """Open the mailbox and begin to read it. Raises what the layer raises while Redis is away; then call again."""
        if self._opened.is_set():
            return
        self._mailbox = await self._layer.new_channel()
        self._layer.listen(self._mailbox, self._receive)
        self._opened.set()
        self._keep("hub-idle", lambda: self._every(0.5, self._part_idle))
        self._keep("hub-positions", lambda: self._every(1.0, self._check_positions))

    async def close(self) -> None:
        """Stop everything; local channels are forgotten."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.feeder.close()
        self.channels.clear()

    async def join_group(self, group: str) -> None:
        """Receive a group that is no channel (control, heartbeats)."""
        await self._layer.group_add(group, self._mailbox)

    # Subscribing

    async def subscribe(self, subscription: Subscription, options: StreamOptions) -> LocalChannel:
        """Add a subscription to its channel, which is live when this returns; deliveries are held until `release`.

        Raises NotLive or StoreUnavailable.
        """
        channel = self.channels.get(subscription.channel)
        if channel is None:
            name = subscription.channel
            channel = self.channels[name] = LocalChannel(name, options, self._broker.partition(name))
            self._doubt(channel)
        channel.add(subscription)
        try:
            if not channel.serving:
                await self._confirmed(channel)
        except BaseException:
            self.unsubscribe(subscription)
            raise
        return channel

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription; unknown ones are no error."""
        channel = self.channels.get(subscription.channel)
        if channel is not None:
            channel.remove(subscription, self._loop.time())

    def top(self, channel: LocalChannel) -> StreamPosition:
        """The highest position of a live channel that this process knows of: a new subscriber begins there."""
        newest, position = channel.newest, channel.position
        ahead = newest.offset > position.offset and channel.agrees(newest)
        return newest if channel.history and ahead else position

    def _note(self, name: str, top: StreamPosition) -> None:
        """Redis has said where a channel's stream stands."""
        channel = self.channels.get(name)
        if channel is not None:
            channel.note(top)

    def unsettled(self, longer: float) -> dict[str, int]:
        """How many channels have not been settled for longer than so many seconds, by state. Any thread may ask."""
        since = self._loop.time() - longer
        late = [c for c in list(self.channels.values()) if c.unsettled_since is not None and c.unsettled_since < since]
        counted = Counter(channel.state() for channel in late)
        return {state: counted[state] for state in STATES}

    # Who works on a channel

    def _move(self, channel: LocalChannel, flow: Flow) -> None:
        """The one place where a channel's flow changes."""
        channel.flow = flow
        channel.failing = False
        self._see_to(channel)
        self._wake(channel)

    def _doubt(self, channel: LocalChannel) -> None:
        """What has come so far proves nothing, or no more: only a nonce that is sent from now on does."""
        channel.waiting_nonce = secrets.token_hex(8)
        self._see_to(channel)
        self._wake(channel)

    def _see_to(self, channel: LocalChannel) -> None:
        """Whatever is not settled of a channel has a task that works on it until it is."""
        if not self._is_here(channel):
            return
        if channel.settled:
            channel.unsettled_since = None
        elif channel.unsettled_since is None:
            channel.unsettled_since = self._loop.time()
        if channel.waiting_nonce:
            self._work_on(channel, "hub-confirm", self._confirm_until_heard)
        if channel.flow is Flow.REFILLING:
            self._work_on(channel, "hub-refill", self._refill_until_live)

    def _work_on(self, channel: LocalChannel, name: str, work: Callable[[LocalChannel], Awaitable[None]]) -> None:
        if name not in channel.workers:
            channel.workers[name] = task = self._keep(name, lambda: work(channel))
            task.add_done_callback(lambda _: self._worked(channel, name))

    def _worked(self, channel: LocalChannel, name: str) -> None:
        """A task ended, for whatever reason: if that was too early, another follows."""
        del channel.workers[name]
        self._see_to(channel)

    def _is_here(self, channel: LocalChannel) -> bool:
        """Whether work on it is wanted; asked by every worker, for redis-py may swallow its being cancelled."""
        return not self._closed and self.channels.get(channel.name) is channel

    # Confirming

    async def _confirm_until_heard(self, channel: LocalChannel) -> None:
        """Join the layer's group and send nonces until one comes back (see `_on_live`)."""
        subscribed = await self._join(channel)
        again = self._resyncing[self._broker.store.shard_for(place(channel.name)).index]
        pause = FIRST_NONCE_AGAIN
        while channel.waiting_nonce and self._is_here(channel):
            if channel.flow is Flow.CONFIRMING:
                await self._send_nonce(channel, pause, subscribed)
            else:
                async with again:
                    await self._send_nonce(channel, pause)
            pause = min(2.0, pause * 2)

    async def _join(self, channel: LocalChannel) -> "asyncio.Future[None] | None":
        """Join the layer's group, if that was not done; gives a future that is done when Redis says so."""
        if channel.joined:
            return None
        await self._opened.wait()
        backoff = Backoff()
        placement = place(channel.name)
        subscribed = self._layer.subscribing(placement.topic)
        while self._is_here(channel):
            try:
                await self._layer.group_add(placement.group, self._mailbox)
                channel.joined = True
                break
            except LAYER_FAULTS as error:
                self._complain("cannot join the group of a channel", error)
                await asyncio.sleep(backoff.next())
        return subscribed

    async def _send_nonce(
        self, channel: LocalChannel, pause: float, subscribed: "asyncio.Future[None] | None" = None
    ) -> None:
        """Send a nonce and wait for it, for `pause` seconds at most.

        One that was sent before Redis had `subscribed` is most likely lost: another follows as soon as it has.
        """
        if not channel.waiting_nonce:
            return
        early = subscribed is not None and not subscribed.done()
        try:
            await self._broker.confirm(channel.name, channel.waiting_nonce, channel.options)
        except StoreUnavailable as error:
            self._complain("cannot confirm a channel", error)
        if channel.waiting_nonce:
            news = {self._answered(channel)} | ({subscribed} if early and subscribed is not None else set())
            await asyncio.wait(news, timeout=pause, return_when=asyncio.FIRST_COMPLETED)

    def _answered(self, channel: LocalChannel) -> "asyncio.Future[None]":
        if channel.waiting is None or channel.waiting.done():
            channel.waiting = self._loop.create_future()
        return channel.waiting

    async def _confirmed(self, channel: LocalChannel) -> None:
        try:
            async with asyncio.timeout(CONFIRM_WITHIN):
                while not channel.serving:
                    await asyncio.shield(self._answered(channel))
        except TimeoutError:
            raise NotLive(f"the channel was not live within {CONFIRM_WITHIN} s") from None

    # Receiving

    def _receive(self, batch: list[bytes]) -> None:
        """What one read of the layer brought. Publications of one channel that came together leave together."""
        self._received_at = time.monotonic()
        for encoded in batch:
            try:
                self._dispatch(envelope.decode(encoded))
            except Exception:
                logger.exception("a message of the channel layer could not be handled: %.60r", encoded)
        self._flush()

    def _flush(self) -> None:
        while self._delivered_to:
            channel, stamps = self._delivered_to.popitem()
            self._write(channel, stamps)

    def _write(self, channel: LocalChannel, stamps: list[int | None]) -> None:
        sent = channel.flush()
        self.delivered += sent
        if sent:
            written = time.monotonic()
            for stamp in stamps:
                self.stats.delivered(channel.name, stamp, self._received_at, written)

    def _dispatch(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == envelope.BEAT:
            if self.on_beat is not None:
                self.on_beat(message["n"], message["o"])
            return
        if kind == envelope.CONTROL:
            if self.on_control is not None:
                self.on_control(message["d"])
            return
        channel = self.channels.get(message["c"])
        if channel is None:
            return
        if kind == envelope.PUBLICATION:
            position = StreamPosition(message["e"], message["o"])
            if channel.partition is not None:
                channel.partition.note(position.epoch, message.get("n", 0))
            self._on_publication(channel, position, message["d"], message.get("t"))
        elif kind == envelope.LIVE:
            if message["n"] == channel.waiting_nonce:
                self._on_live(channel, StreamPosition(message["e"], message["o"]))
        else:
            self.stats.announced += channel.announce(kind.encode(), message["d"])

    def _on_publication(self, channel: LocalChannel, position: StreamPosition, body: bytes, stamp: int | None) -> None:
        channel.published_at = stamp or channel.published_at
        if not position.offset:
            if channel.flow is not Flow.CONFIRMING:
                self._deliver(channel, Publication(0, body), stamp)
            return
        channel.note(position)
        channel.checked_at = self._loop.time()
        if channel.flow is not Flow.LIVE:
            return  # not live yet, or history is being read anyway and will have it
        if not channel.adopt(position.epoch):
            self._refill(channel, position)
        elif position.offset == channel.position.offset + 1:
            self._deliver(channel, Publication(position.offset, body), stamp)
        elif position.offset > channel.position.offset:
            self._refill(channel, position)

    def _fed(self, written: int) -> None:
        self.delivered += written

    def _deliver(self, channel: LocalChannel, publication: Publication, stamp: int | None) -> None:
        """Hand a publication to the channel's subscribers, at the end of this turn at the latest."""
        stamps = self._delivered_to.setdefault(channel, [])
        stamps.append(stamp)
        if channel.deliver(publication) >= self._max_joined:
            self._write(channel, self._delivered_to.pop(channel))

    def _on_live(self, channel: LocalChannel, top: StreamPosition) -> None:
        channel.waiting_nonce = ""
        channel.checked_at = self._loop.time()
        channel.note(top)  # a refill that is under way goes on up to there
        if channel.flow is Flow.CONFIRMING:
            channel.position = top
            self._move(channel, Flow.LIVE)
        elif channel.flow is Flow.LIVE:
            self._refill(channel, top)
        self._see_to(channel)
        self._wake(channel)

    @staticmethod
    def _wake(channel: LocalChannel) -> None:
        """Have those who wait for a channel look again."""
        if channel.waiting is not None and not channel.waiting.done():
            channel.waiting.set_result(None)

    # Gaps

    def _refill(self, channel: LocalChannel, top: StreamPosition) -> None:
        """The stream stands at `top`: fetch what is missing here, if anything is."""
        if channel.adopt(top.epoch) and top.offset <= channel.position.offset:
            return
        self.stats.refills += 1
        self._move(channel, Flow.REFILLING)

    async def _refill_until_live(self, channel: LocalChannel) -> None:
        """Hand on what is missing. While history does not answer, those who come wait as they do for a confirmation:
        an accepted subscriber must not be deaf."""
        backoff, patience = Backoff(), self._loop.time() + feeder.REFILL_PATIENCE
        while channel.flow is Flow.REFILLING and self._is_here(channel):
            try:
                piece = await pages.read_on(self._broker, channel, channel.position.offset, self.feeder.page)
            except Exception as error:
                channel.failing = True
                if not isinstance(error, StoreUnavailable):
                    raise
                self._complain("cannot refill a channel from history", error)
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            if channel.failing:
                channel.failing = False
                self._wake(channel)
            known = channel.newest
            await self.feeder.make_room(channel, piece.bytes, patience)
            if not self._hand_on(channel, piece):
                self._lose(channel, piece.top)
            newest = channel.newest
            # of another epoch, what was known when history was read is older, and what has come since is newer
            there = newest.offset <= channel.position.offset if channel.adopt(newest.epoch) else newest == known
            if there:
                self._move(channel, Flow.LIVE)

    def _hand_on(self, channel: LocalChannel, piece: Piece) -> bool:
        """Deliver a page of missed publications; False when it does not continue what was delivered."""
        if not pages.continues(channel, channel.position.offset, piece):
            return False
        self.stats.refilled += len(piece.publications)
        for publication in piece.publications:
            if channel.deliver(publication) >= self._max_joined:
                self.delivered += channel.flush()
        self.delivered += channel.flush()
        return True

    def _lose(self, channel: LocalChannel, top: StreamPosition) -> None:
        """History no longer has what is missing: everybody who relies on positions is told."""
        logger.warning("publications %s..%s of a channel are lost for its subscribers here", channel.position, top)
        channel.position = top
        self.stats.lost += 1
        for subscription in channel.subscriptions:
            if subscription.positioned or subscription.recoverable:
                subscription.broken = True
                subscription.subscriber.lose_position(subscription)
            elif subscription.held is not None:
                subscription.broken = True  # its reply would begin at an offset that means nothing any more
            else:
                subscription.floor = 0
                if subscription in channel.feeds:
                    channel.feeds[subscription].covered = top.offset

    # Upkeep

    def resync(self, shard: int | None = None) -> None:
        """Compare every active channel (of one shard) with its stream: its connection was lost or is in doubt."""
        for channel in list(self.channels.values()):
            if shard not in (None, self._broker.store.shard_for(place(channel.name)).index):
                continue
            self._doubt(channel)

    async def _check_positions(self) -> None:
        """Channels without traffic: has something been published that did not arrive?"""
        due = self._loop.time() - self._check_interval
        quiet = [c for c in self.channels.values() if c.history and c.flow is Flow.LIVE and c.checked_at < due]
        for start in range(0, len(quiet), RESYNC_AT_ONCE):
            batch = quiet[start : start + RESYNC_AT_ONCE]
            await asyncio.gather(*(self._check_position(channel) for channel in batch))

    async def _check_position(self, channel: LocalChannel) -> None:
        try:
            page = await self._broker.history(channel.name, channel.options)
        except Exception as error:
            if not isinstance(error, StoreUnavailable):
                logger.exception("the position of a channel could not be looked at")
            return  # the next round asks again
        channel.checked_at = self._loop.time()
        if channel.flow is Flow.LIVE:
            self._refill(channel, page.top)

    def compare(self, name: str, top: StreamPosition) -> None:
        """Somebody read a channel's stream: another epoch there means that what was delivered here no longer counts."""
        channel = self.channels.get(name)
        if channel is not None and channel.flow is Flow.LIVE and not channel.adopt(top.epoch):
            self._refill(channel, top)

    async def _part_idle(self) -> None:
        """Leave the groups of channels that nobody here has wanted for a while."""
        due = self._loop.time() - LINGER
        for channel in list(self.channels.values()):
            if channel.idle_since is None or channel.idle_since >= due:
                continue  # looked at only now: somebody may have come while others were left
            del self.channels[channel.name]
            channel.waiting_nonce = ""
            await self._layer.group_discard(place(channel.name).group, self._mailbox)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except LAYER_FAULTS as error:
                self._complain("upkeep of the hub", error)

    def _complain(self, what: str, error: BaseException) -> None:
        """Of what happens to every channel at once the log has one."""
        if self._once.news((what, type(error).__name__)):
            logger.warning("%s: %s", what, error)

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        task = supervised(name, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
