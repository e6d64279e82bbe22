"""The hub: one per process. It holds the process's only mailbox and delivers what arrives there to local subscribers.

The layer's group of a channel is joined while the channel has local subscribers. Publications go out in offset order;
whatever is missing is fetched from history first, by the synchronizer, which also proves that nothing is missing. What
one read of the layer brings for a channel leaves as one message, within a bound.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from flotilla.realtime.engine import envelope
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.calls import StreamOptions
from flotilla.realtime.engine.feeder import Feeder
from flotilla.realtime.engine.layer import LoopLayer
from flotilla.realtime.engine.local_channel import Flow, LocalChannel
from flotilla.realtime.engine.publication import Publication, StreamPosition
from flotilla.realtime.engine.stats import HubStats
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.synchronizer import Synchronizer
from flotilla.realtime.engine.traced_deliveries import TracedDeliveries
from flotilla.realtime.engine.traffic import TrafficByNamespace
from flotilla.speedups import read_publication

logger = logging.getLogger("flotilla.realtime.hub")

UNWRITTEN = "publications of a channel could not be written"
STATES = ("confirming", "refilling", "reconfirming")  # of channels that are not settled

ChannelControl = Callable[[bytes], None]


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
        self.traffic = TrafficByNamespace()
        self.stats = HubStats(broker.store)
        self.feeder = Feeder(broker, max_unsent=max_unsent, max_joined=max_joined)
        self._traced = TracedDeliveries.of_this_process(self.stats)
        self._synchronizer = Synchronizer(
            self.channels,
            layer,
            broker,
            self.feeder,
            self.stats,
            check_interval=check_interval,
            max_joined=max_joined,
            traced=self._traced,
        )
        self._layer = layer
        self._broker = broker
        self._max_joined = max_joined
        self._received_at = 0.0  # when the batch that is being handled came
        self._delivered_to: dict[LocalChannel, list[int | None]] = {}  # what is to be written, with Redis's stamps
        self._mailbox = ""
        self._loop = asyncio.get_running_loop()
        broker.on_position = self._note
        self.on_control: ChannelControl | None = None
        self.on_beat: Callable[[int, int], None] | None = None

    async def start(self) -> None:
        """Open the mailbox and begin to read it. Raises what the layer raises while Redis is away; then call again."""
        if self._mailbox:
            return
        self._mailbox = await self._layer.new_channel()
        self._layer.listen(self._mailbox, self._receive)
        self._synchronizer.open(self._mailbox)

    async def close(self) -> None:
        """Stop everything; local channels are forgotten."""
        await self._synchronizer.close()
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
            channel = self.channels[name] = LocalChannel(
                name, options, self._broker.partition(name), self.traffic.of(name), self.feeder
            )
            self._synchronizer.doubt(channel)
        channel.add(subscription)
        try:
            if not channel.serving:
                await self._synchronizer.until_serving(channel)
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

    # What is known of streams

    def resync(self, shard: int | None = None) -> None:
        """Confirm every channel (of one shard) again: its connection was lost or may have lost something."""
        self._synchronizer.resync(shard)

    def compare(self, name: str, top: StreamPosition) -> None:
        """Somebody read a channel's stream: another epoch there means that what was delivered here no longer counts."""
        self._synchronizer.compare(name, top)

    def _note(self, name: str, top: StreamPosition) -> None:
        """Redis has said how far a channel's stream is."""
        channel = self.channels.get(name)
        if channel is not None:
            channel.note(top)

    def unsettled(self, longer: float) -> dict[str, int]:
        """How many channels have not been settled for longer than so many seconds, by state. Any thread may ask."""
        since = self._loop.time() - longer
        late = [c for c in list(self.channels.values()) if c.unsettled_since is not None and c.unsettled_since < since]
        counted = Counter(channel.state() for channel in late)
        return {state: counted[state] for state in STATES}

    @property
    def delivered(self) -> int:
        """Publications written to connections, ever."""
        return sum(traffic.delivered for traffic in self.traffic.all().values())

    # Receiving

    def _receive(self, batch: list[bytes]) -> None:
        """What one read of the layer brought. Publications of one channel that came together leave together."""
        self._received_at = time.monotonic()
        for encoded in batch:
            try:
                publication = read_publication(encoded)
                if publication is not None:
                    self._announced(*publication)
                else:
                    self._dispatch(envelope.decode(encoded))
            except Exception:
                logger.exception("a message of the channel layer could not be handled: %.60r", encoded)
        self._flush()

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
            if self._traced is not None and envelope.TRACE in message:
                position = StreamPosition(message["e"], message["o"])
                self._traced.received(channel, position, message, self._received_at)
            self._announced(
                message["c"], message["d"], message["e"], message["o"], message.get("t"), message.get("n", 0)
            )
        elif kind == envelope.LIVE:
            if message["n"] == channel.waiting_nonce:
                self._synchronizer.confirmed(channel, StreamPosition(message["e"], message["o"]))
        else:
            self.stats.announced += channel.announce(kind.encode(), message["d"])

    def _announced(self, name: str, body: bytes, epoch: str, offset: int, stamp: int | None, count: int) -> None:
        """A publication has come, with Redis's stamp and the count of its partition."""
        channel = self.channels.get(name)
        if channel is None:
            return
        if channel.partition is not None:
            channel.partition.note(epoch, count)
        self._on_publication(channel, StreamPosition(epoch, offset), body, stamp)

    def _on_publication(self, channel: LocalChannel, position: StreamPosition, body: bytes, stamp: int | None) -> None:
        channel.published_at = stamp or channel.published_at
        channel.count(self._received_at)
        if not position.offset:
            if channel.flow is not Flow.CONFIRMING:
                self._deliver(channel, Publication.read(0, body), stamp)
            return
        channel.note(position)
        channel.checked_at = self._loop.time()
        if channel.flow is not Flow.LIVE:
            return  # not live yet, or history is being read anyway and will have it
        if not channel.adopt(position.epoch):
            self._synchronizer.refill(channel, position)
        elif position.offset == channel.position.offset + 1:
            self._deliver(channel, Publication.read(position.offset, body), stamp)
        elif position.offset > channel.position.offset:
            self._synchronizer.refill(channel, position)

    # Delivering

    def _deliver(self, channel: LocalChannel, publication: Publication, stamp: int | None) -> None:
        """Hand a publication to the channel's subscribers; it is written when the batch is through, or before."""
        stamps = self._delivered_to.setdefault(channel, [])
        stamps.append(stamp)
        try:
            waiting = channel.deliver(publication)
        except Exception:
            logger.exception(UNWRITTEN)
            self._synchronizer.unwritten(channel)
            return
        if waiting >= self._max_joined:
            self._write(channel, self._delivered_to.pop(channel))

    def _flush(self) -> None:
        while self._delivered_to:
            channel, stamps = self._delivered_to.popitem()
            self._write(channel, stamps)

    def _write(self, channel: LocalChannel, stamps: list[int | None]) -> None:
        try:
            sent = channel.flush()
        except Exception:  # others are written all the same
            logger.exception(UNWRITTEN)
            self._synchronizer.unwritten(channel)
            return
        channel.traffic.delivered += sent
        written = time.monotonic()
        if sent:
            for stamp in stamps:
                self.stats.delivered(channel.name, stamp, self._received_at, written)
        if self._traced is not None:
            self._traced.written(channel, written, len(stamps))
