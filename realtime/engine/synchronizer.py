"""Keeps a process's channels in step with their streams: joins their groups, confirms them, fills gaps, and leaves.

A channel is live only when a nonce came back through its group, carrying the stream's top: what follows is then
provably everything above that top. Whatever is missing is read from history and delivered first; where history no
longer has it, subscribers that rely on positions are told.

A channel that is not settled (not live, or waiting for a nonce) always has a running task that works on it: `_see_to`
is called at every change of its state and at the end of every such task, and starts the tasks that are missing.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from flotilla.realtime.engine import feeder, pages
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.feeder import Feeder
from flotilla.realtime.engine.layer import LAYER_FAULTS, LoopLayer
from flotilla.realtime.engine.local_channel import Flow, LocalChannel
from flotilla.realtime.engine.pages import Piece
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.engine.stats import HubStats
from flotilla.realtime.engine.traced_deliveries import TracedDeliveries
from flotilla.store import Backoff, StoreUnavailable, placement_of, supervised
from flotilla.store.once import Once

logger = logging.getLogger("flotilla.realtime.synchronizer")

CONFIRM_WITHIN = 4.0  # seconds a subscriber waits; clients give up after 5
FIRST_NONCE_AGAIN = 0.25  # seconds until an unanswered nonce is sent again
MAX_NONCE_AGAIN = 2.0  # the same, after several
LINGER = 2.0  # seconds a channel without subscribers stays joined
RESYNC_AT_ONCE = 256  # channels of a shard that are confirmed again at the same time
LEAVE_EVERY = 0.5  # seconds
CHECK_EVERY = 1.0  # seconds


class NotLive(Exception):
    """A channel could not be confirmed in time: Redis or the layer's connection is away."""


class Synchronizer:
    """Works on `channels`, which the hub fills, and removes those that nobody wants any more. Close it at the end."""

    def __init__(
        self,
        channels: dict[str, LocalChannel],
        layer: LoopLayer,
        broker: Broker,
        feeder: Feeder,
        stats: HubStats,
        *,
        check_interval: float,
        max_joined: int,
        traced: TracedDeliveries | None = None,
    ) -> None:
        self._channels = channels
        self._layer = layer
        self._broker = broker
        self._feeder = feeder
        self._stats = stats
        self._traced = traced
        self._check_interval = check_interval
        self._max_joined = max_joined
        self._mailbox = ""
        self._opened = asyncio.Event()
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._resyncing = [asyncio.Semaphore(RESYNC_AT_ONCE) for _ in broker.store.shards]
        self._once = Once()

    def open(self, mailbox: str) -> None:
        """The process has its mailbox: groups can be joined now."""
        self._mailbox = mailbox
        self._opened.set()
        self._keep("hub-idle", lambda: self._every(LEAVE_EVERY, self._leave_idle))
        self._keep("hub-positions", lambda: self._every(CHECK_EVERY, self._check_positions))

    async def close(self) -> None:
        """Stop all work."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What the hub hears

    def confirmed(self, channel: LocalChannel, top: StreamPosition) -> None:
        """The nonce that a channel waits for came back; its stream is at `top`."""
        channel.waiting_nonce = ""
        channel.checked_at = self._loop.time()
        channel.note(top)  # a refill that is under way goes on up to there
        if channel.flow is Flow.CONFIRMING:
            channel.position = top
            self._move(channel, Flow.LIVE)
        elif channel.flow is Flow.LIVE:
            self.refill(channel, top)
        self._see_to(channel)
        self._wake(channel)

    def refill(self, channel: LocalChannel, top: StreamPosition) -> None:
        """The stream is at `top`: fetch what is missing here, if anything is."""
        if channel.adopt(top.epoch) and top.offset <= channel.position.offset:
            return
        self._stats.refills += 1
        self._move(channel, Flow.REFILLING)

    def compare(self, name: str, top: StreamPosition) -> None:
        """Somebody read a channel's stream: another epoch there means that what was delivered here no longer counts."""
        channel = self._channels.get(name)
        if channel is not None and channel.flow is Flow.LIVE and not channel.adopt(top.epoch):
            self.refill(channel, top)

    def resync(self, shard: int | None = None) -> None:
        """Confirm every channel (of one shard) again: its connection was lost or may have lost something."""
        for channel in list(self._channels.values()):
            if shard in (None, self._broker.store.shard_for(placement_of(channel.name)).index):
                self.doubt(channel)

    def doubt(self, channel: LocalChannel) -> None:
        """What has come so far proves nothing: only a nonce that is sent from now on does."""
        channel.waiting_nonce = secrets.token_hex(8)
        self._see_to(channel)
        self._wake(channel)

    def unwritten(self, channel: LocalChannel) -> None:
        """Writing to a channel's subscribers has failed: publications are lost for them."""
        channel.followers.forget_written()
        self._lose(channel, channel.position)

    async def until_serving(self, channel: LocalChannel) -> None:
        """Wait until a channel serves new subscribers. Raises NotLive when that takes longer than CONFIRM_WITHIN."""
        try:
            async with asyncio.timeout(CONFIRM_WITHIN):
                while not channel.serving:
                    await asyncio.shield(self._news(channel))
        except TimeoutError:
            raise NotLive(f"the channel was not live within {CONFIRM_WITHIN} s") from None

    # Who works on a channel

    def _move(self, channel: LocalChannel, flow: Flow) -> None:
        """Change a channel's flow; nothing else does."""
        channel.flow = flow
        channel.failing = False
        self._see_to(channel)
        self._wake(channel)

    def _see_to(self, channel: LocalChannel) -> None:
        """Give a channel a task for whatever is not settled of it."""
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
        """Whether work on a channel is still wanted. Every worker asks, for redis-py may swallow its cancellation."""
        return not self._closed and self._channels.get(channel.name) is channel

    def _news(self, channel: LocalChannel) -> "asyncio.Future[None]":
        """Done when the channel's state changes."""
        if channel.waiting is None or channel.waiting.done():
            channel.waiting = self._loop.create_future()
        return channel.waiting

    @staticmethod
    def _wake(channel: LocalChannel) -> None:
        """Have those that wait for news of a channel look again."""
        if channel.waiting is not None and not channel.waiting.done():
            channel.waiting.set_result(None)

    # Confirming

    async def _confirm_until_heard(self, channel: LocalChannel) -> None:
        """Join the layer's group and send nonces until one comes back (see `confirmed`)."""
        subscribed = await self._join(channel)
        again = self._resyncing[self._broker.store.shard_for(placement_of(channel.name)).index]
        pause = FIRST_NONCE_AGAIN
        while channel.waiting_nonce and self._is_here(channel):
            if channel.flow is Flow.CONFIRMING:
                await self._send_nonce(channel, pause, subscribed)
            else:
                async with again:
                    await self._send_nonce(channel, pause)
            pause = min(MAX_NONCE_AGAIN, pause * 2)

    async def _join(self, channel: LocalChannel) -> "asyncio.Future[None] | None":
        """Join the layer's group, if that was not done; gives a future that is done when Redis says so."""
        if channel.joined:
            return None
        await self._opened.wait()
        backoff = Backoff()
        placement = placement_of(channel.name)
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
            news = {self._news(channel)} | ({subscribed} if early and subscribed is not None else set())
            await asyncio.wait(news, timeout=pause, return_when=asyncio.FIRST_COMPLETED)

    # Refilling

    async def _refill_until_live(self, channel: LocalChannel) -> None:
        """Deliver what is missing, page by page. While history does not answer, new subscribers wait as they do for a
        confirmation: one that was accepted would hear nothing."""
        backoff, patience = Backoff(), self._loop.time() + feeder.REFILL_PATIENCE
        while channel.flow is Flow.REFILLING and self._is_here(channel):
            try:
                piece = await pages.read_on(self._broker, channel, channel.position.offset, self._feeder.page)
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
            await self._feeder.make_room(channel, piece.bytes, patience)
            complete = self._deliver(channel, piece)
            if not complete:
                self._lose(channel, piece.top)
            if self._traced is not None:
                self._traced.refilled(channel, time.monotonic(), complete=complete)
            newest = channel.newest
            # Under another epoch, what was known before the page was read is older than it; what came since is not.
            there = newest.offset <= channel.position.offset if channel.adopt(newest.epoch) else newest == known
            if there:
                self._move(channel, Flow.LIVE)

    def _deliver(self, channel: LocalChannel, piece: Piece) -> bool:
        """Deliver a page of missed publications; False when it does not continue what was delivered."""
        if not pages.continues(channel, channel.position.offset, piece):
            return False
        self._stats.refilled += len(piece.publications)
        try:
            for publication in piece.publications:
                if channel.deliver(publication) >= self._max_joined:
                    channel.traffic.delivered += channel.flush()
            channel.traffic.delivered += channel.flush()
        except Exception:
            logger.exception("publications of a channel could not be written")
            channel.followers.forget_written()
            return False
        channel.pass_over(piece.last)
        return True

    def _lose(self, channel: LocalChannel, top: StreamPosition) -> None:
        """History no longer has what is missing: every subscription that relies on positions is told."""
        logger.warning("publications %s..%s of a channel are lost for its subscribers here", channel.position, top)
        channel.position = top
        self._stats.lost += 1
        for subscription in channel.subscriptions:
            if subscription.positioned or subscription.recoverable:
                subscription.broken = True
                subscription.subscriber.lose_position(subscription)
            elif subscription.held is not None:
                subscription.broken = True  # its reply would begin at an offset that means nothing any more
            else:
                subscription.floor = 0
                if subscription in channel.feeds:
                    channel.feeds[subscription].skip_to(top.offset)

    # In the background

    async def _check_positions(self) -> None:
        """Channels without traffic: has something been published that did not arrive?"""
        due = self._loop.time() - self._check_interval
        quiet = [c for c in self._channels.values() if c.history and c.flow is Flow.LIVE and c.checked_at < due]
        for start in range(0, len(quiet), RESYNC_AT_ONCE):
            batch = quiet[start : start + RESYNC_AT_ONCE]
            await asyncio.gather(*(self._check_position(channel) for channel in batch))

    async def _check_position(self, channel: LocalChannel) -> None:
        try:
            page = await self._broker.history(channel.name, channel.options)
        except Exception as error:
            if not isinstance(error, StoreUnavailable):
                logger.exception("the position of a channel could not be read")
            return  # the next round asks again
        channel.checked_at = self._loop.time()
        if channel.flow is Flow.LIVE:
            self.refill(channel, page.top)

    async def _leave_idle(self) -> None:
        """Leave the groups of channels that nobody here has wanted for a while."""
        due = self._loop.time() - LINGER
        for channel in list(self._channels.values()):
            if channel.idle_since is None or channel.idle_since >= due:
                continue  # asked only now, for somebody may have come while other groups were left
            del self._channels[channel.name]
            channel.waiting_nonce = ""
            await self._layer.group_discard(placement_of(channel.name).group, self._mailbox)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except LAYER_FAULTS as error:
                self._complain("background work on channels failed", error)

    def _complain(self, what: str, error: BaseException) -> None:
        """Log a failure; one that meets many channels at once is logged once."""
        if self._once.news((what, type(error).__name__)):
            logger.warning("%s: %s", what, error)

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        task = supervised(name, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
