"""The hub: one per process. It holds the process's only mailbox and turns what arrives there into deliveries.

A channel is joined at the layer while it has local subscribers. It is live only when a nonce came back through its
group, carrying the stream's top: what follows is then provably everything above that top. Publications go out in offset
order; whatever is missing is fetched from history first, and where history no longer has it, subscribers are told.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.engine import envelope, feeder, pages
from realtime.engine.broker import Broker
from realtime.engine.calls import StreamOptions
from realtime.engine.feeder import Feeder
from realtime.engine.layer import LAYER_FAULTS, LoopLayer
from realtime.engine.local_channel import Flow, LocalChannel
from realtime.engine.pages import Piece
from realtime.engine.publication import Publication, StreamPosition
from realtime.engine.stats import HubStats
from realtime.engine.subscription import Subscription
from store import Backoff, StoreUnavailable, place

logger = logging.getLogger("realtime.hub")

CONFIRM_WITHIN = 4.0  # seconds a subscriber waits; clients give up after 5
FIRST_NONCE_AGAIN = 0.25  # seconds until an unanswered nonce is sent again
LINGER = 2.0  # seconds a channel without subscribers stays joined
RESYNC_AT_ONCE = 256  # channels being confirmed at the same time

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
        most_joined: int,
        most_unsent: int = 1048576,
    ) -> None:
        self.channels: dict[str, LocalChannel] = {}
        self.delivered = 0
        self.stats = HubStats(broker.store)
        self.feeder = Feeder(broker, most_unsent=most_unsent, most_joined=most_joined, count=self._fed)
        self._layer = layer
        self._broker = broker
        self._check_interval = check_interval
        self._most_joined = most_joined
        self._received_at = 0.0  # when the batch that is being handled came
        self._delivered_to: dict[LocalChannel, list[int | None]] = {}  # what is to be written, with Redis's stamps
        self._mailbox = ""
        self._opened = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._resyncing = asyncio.Semaphore(RESYNC_AT_ONCE)
        self.on_control: ChannelControl | None = None
        self.on_beat: Callable[[int, int], None] | None = None

    async def start(self) -> None:
        """Open the mailbox and begin to read it. Raises what the layer raises while Redis is away; then call again."""
        if self._opened.is_set():
            return
        self._mailbox = await self._layer.new_channel()
        self._layer.listen(self._mailbox, self._receive)
        self._opened.set()
        self._spawn(self._every(0.5, self._part_idle))
        self._spawn(self._every(1.0, self._check_positions))

    async def close(self) -> None:
        """Stop everything; local channels are forgotten."""
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
            channel = self.channels[subscription.channel] = LocalChannel(subscription.channel, options)
            self._spawn(self._join(channel))
        channel.add(subscription)
        try:
            if channel.flow is Flow.CONFIRMING:
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
        seen = self._broker.seen.get(channel.name)
        if channel.history and seen.epoch == channel.position.epoch and seen.offset > channel.position.offset:
            return seen
        return channel.position

    async def _join(self, channel: LocalChannel) -> None:
        """Join the layer's group and have it confirmed; tried until it works or nobody wants the channel."""
        await self._opened.wait()
        backoff = Backoff()
        placement = place(channel.name)
        subscribed = self._layer.subscribing(placement.topic)
        while self.channels.get(channel.name) is channel:
            try:
                await self._layer.group_add(placement.group, self._mailbox)
                return await self._confirm(channel, subscribed)
            except (StoreUnavailable, *LAYER_FAULTS) as error:
                logger.warning("cannot join the group of a channel: %s", error)
                await asyncio.sleep(backoff.next())

    async def _confirm(self, channel: LocalChannel, subscribed: "asyncio.Future[None] | None" = None) -> None:
        """Send nonces until one comes back (see `_on_live`).

        One that was sent before Redis had `subscribed` is most likely lost: another follows as soon as it has.
        """
        channel.waiting_nonce = secrets.token_hex(8)
        pause = FIRST_NONCE_AGAIN
        while channel.waiting_nonce and self.channels.get(channel.name) is channel:
            early = subscribed is not None and not subscribed.done()
            try:
                await self._broker.confirm(channel.name, channel.waiting_nonce, channel.options)
            except StoreUnavailable as error:
                logger.warning("cannot confirm a channel: %s", error)
            if not channel.waiting_nonce:
                return
            news = {self._answered(channel)} | ({subscribed} if early and subscribed is not None else set())
            await asyncio.wait(news, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            pause = min(2.0, pause * 2)

    def _answered(self, channel: LocalChannel) -> "asyncio.Future[None]":
        if channel.waiting is None or channel.waiting.done():
            channel.waiting = self._loop.create_future()
        return channel.waiting

    async def _confirmed(self, channel: LocalChannel) -> None:
        try:
            async with asyncio.timeout(CONFIRM_WITHIN):
                while channel.flow is Flow.CONFIRMING:
                    await asyncio.shield(self._answered(channel))
        except TimeoutError:
            raise NotLive(f"the channel was not confirmed within {CONFIRM_WITHIN} s") from None

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
        self._broker.seen.note(channel.name, position)
        channel.checked_at = self._loop.time()
        if channel.flow is not Flow.LIVE:
            return  # not live yet, or history is being read anyway and will have it
        epoch, offset = channel.position
        if position.epoch == epoch and position.offset == offset + 1:
            self._deliver(channel, Publication(position.offset, body), stamp)
        elif position.epoch != epoch or position.offset > offset:
            self._refill(channel, position)

    def _fed(self, written: int) -> None:
        self.delivered += written

    def _deliver(self, channel: LocalChannel, publication: Publication, stamp: int | None) -> None:
        """Hand a publication to the channel's subscribers, at the end of this turn at the latest."""
        stamps = self._delivered_to.setdefault(channel, [])
        stamps.append(stamp)
        if channel.deliver(publication) >= self._most_joined:
            self._write(channel, self._delivered_to.pop(channel))

    def _on_live(self, channel: LocalChannel, top: StreamPosition) -> None:
        channel.waiting_nonce = ""
        channel.checked_at = self._loop.time()
        self._broker.seen.note(channel.name, top)  # a refill that is under way goes on up to there
        if channel.flow is Flow.CONFIRMING:
            channel.position = top
            channel.flow = Flow.LIVE
        elif channel.flow is Flow.LIVE:
            self._refill(channel, top)
        self._wake(channel)

    @staticmethod
    def _wake(channel: LocalChannel) -> None:
        """Have those who wait for a confirmation look again."""
        if channel.waiting is not None and not channel.waiting.done():
            channel.waiting.set_result(None)

    # Gaps

    def _refill(self, channel: LocalChannel, top: StreamPosition) -> None:
        """The stream stands at `top`: fetch what is missing here, if anything is."""
        if top.epoch == channel.position.epoch and top.offset <= channel.position.offset:
            return
        channel.flow = Flow.REFILLING
        self.stats.refills += 1
        self._spawn(self._refill_until_live(channel))

    async def _refill_until_live(self, channel: LocalChannel) -> None:
        backoff = Backoff()
        patience = self._loop.time() + feeder.REFILL_PATIENCE
        while self.channels.get(channel.name) is channel:
            try:
                piece = await pages.read_on(self._broker, channel, channel.position.offset, self.feeder.page)
            except StoreUnavailable as error:
                logger.warning("cannot refill a channel from history: %s", error)
                await asyncio.sleep(backoff.next())
                continue
            await self.feeder.make_room(channel, piece.bytes, patience)
            if not self._hand_on(channel, piece):
                self._lose(channel, piece.top)
            newest = self._broker.seen.get(channel.name)
            if newest.epoch != channel.position.epoch or newest.offset <= channel.position.offset:
                channel.flow = Flow.LIVE
                return

    def _hand_on(self, channel: LocalChannel, piece: Piece) -> bool:
        """Deliver a page of missed publications; False when it does not continue what was delivered."""
        if not pages.continues(channel, channel.position.offset, piece):
            return False
        self.stats.refilled += len(piece.publications)
        for publication in piece.publications:
            if channel.deliver(publication) >= self._most_joined:
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
        for channel in self.channels.values():
            if shard not in (None, self._broker.store.shard_for(place(channel.name)).index):
                continue
            if channel.waiting_nonce:
                self._renew_nonce(channel)
            else:
                self._spawn(self._reconfirm(channel))

    def _renew_nonce(self, channel: LocalChannel) -> None:
        """A nonce of before the fault proves nothing: what came behind it may be lost. Another is sent at once."""
        channel.waiting_nonce = secrets.token_hex(8)
        self._wake(channel)

    async def _reconfirm(self, channel: LocalChannel) -> None:
        async with self._resyncing:
            if not channel.waiting_nonce:
                await self._confirm(channel)

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
        except StoreUnavailable:
            return  # the next round asks again
        channel.checked_at = self._loop.time()
        if channel.flow is Flow.LIVE:
            self._refill(channel, page.top)

    def compare(self, name: str, top: StreamPosition) -> None:
        """Somebody read a channel's stream: another epoch there means that what was delivered here no longer counts."""
        channel = self.channels.get(name)
        if channel is not None and channel.flow is Flow.LIVE and top.epoch != channel.position.epoch:
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
            except (StoreUnavailable, *LAYER_FAULTS) as error:
                logger.warning("upkeep of the hub: %s", error)
            except Exception:
                logger.exception("upkeep of the hub failed")

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a task of the hub failed", exc_info=task.exception())
