"""A channel as one process knows it: its subscribers here, and up to where everything has been delivered to them.

Bookkeeping and delivery alone; the synchronizer has the channel confirmed and fills its gaps.
"""

import asyncio
from enum import Enum, auto
from typing import Protocol

from flotilla.realtime.engine.calls import NOWHERE, StreamOptions, keeps_history
from flotilla.realtime.engine.epochs import continues
from flotilla.realtime.engine.followers import Followers
from flotilla.realtime.engine.publication import Publication, StreamPosition
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.traffic import Traffic
from flotilla.realtime.protocol.frames import Frame
from flotilla.store.partitions import Partition


class Feed(Protocol):
    """Gives one subscription what it has missed, and what is published meanwhile. It has all up to `covered`."""

    covered: int

    @property
    def given(self) -> int:
        """The offset up to which its subscription was written everything."""

    def offer(self, publication: Publication) -> None: ...

    def skip_to(self, offset: int) -> None: ...


class SlowReaders(Protocol):
    """Takes over subscriptions of a channel that conflates, once more than `at_once` bytes wait at their socket."""

    at_once: int

    def conflate(self, channel: "LocalChannel", subscription: Subscription) -> None: ...


AROUND = 48  # bytes of a push around a publication and its channel's name
COUNTED_FOR = 10.0  # seconds of publications that a channel's rate is taken of


class Flow(Enum):
    """Whether publications are delivered as they come."""

    CONFIRMING = auto()  # it is not proven yet that the group is heard
    LIVE = auto()
    REFILLING = auto()  # something is missing and being fetched from history


class LocalChannel:
    """One channel's local subscribers. Every subscriber has been given everything up to `position`, but for those that
    are fed (`feeds`): they have missed much and are given it at their own pace. The stream is at `newest` at least.
    """

    __slots__ = (
        "_around",
        "_count",
        "_counted_since",
        "_rate",
        "_slow_readers",
        "_waiting",
        "_waiting_bytes",
        "_written",
        "cached",
        "checked_at",
        "conflates",
        "failing",
        "feeds",
        "flow",
        "followers",
        "history",
        "idle_since",
        "joined",
        "joining",
        "name",
        "newest",
        "options",
        "partition",
        "position",
        "publications",
        "published_at",
        "published_bytes",
        "traffic",
        "unsettled_since",
        "waiting",
        "waiting_nonce",
        "workers",
    )

    def __init__(
        self,
        name: str,
        options: StreamOptions,
        partition: Partition | None = None,
        traffic: Traffic | None = None,
        slow_readers: SlowReaders | None = None,
    ) -> None:
        """`traffic`: where what is written here is counted. `slow_readers`: for channels that conflate."""
        self.name = name
        self.partition = partition
        self.traffic = Traffic() if traffic is None else traffic
        self.options = options
        self.history = keeps_history(options)
        self.conflates = options.conflate
        self.cached = options.force_recovery_mode == "cache"  # the newest publication says all there is to know
        self.flow = Flow.CONFIRMING
        self.position: StreamPosition = NOWHERE
        self.newest: StreamPosition = NOWHERE
        self.joining: set[Subscription] = set()
        self.feeds: dict[Subscription, Feed] = {}
        self.waiting: asyncio.Future[None] | None = None
        self.waiting_nonce = ""  # until it comes back, publications may be missing
        self.joined = False  # the layer was told to subscribe to the group
        self.failing = False  # history did not answer when it was asked last
        self.workers: dict[str, asyncio.Task[None]] = {}  # by name: the synchronizer's, until this is settled
        self.unsettled_since: float | None = None
        self.checked_at = 0.0
        self.published_at = 0  # Redis's time of the last publication that came, in µs; 0: none has
        self.idle_since: float | None = None
        self.publications = 0  # that came here, and the bytes of their bodies
        self.published_bytes = 0
        self._count = 0  # publications that came since then (monotonic time), and their rate in the time before
        self._counted_since = 0.0
        self._rate = 0.0
        self._around = len(name.encode()) + AROUND
        self._slow_readers = slow_readers if options.conflate else None
        slow_from = 0 if self._slow_readers is None else self._slow_readers.at_once
        self.followers = Followers(name, options, self.traffic, slow_from)
        self._waiting: list[Publication] = []
        self._waiting_bytes = 0
        self._written = 0  # publications that were written and not counted by `flush` yet

    @property
    def settled(self) -> bool:
        """Whether publications are delivered as they come, and provably all of them."""
        return self.flow is Flow.LIVE and not self.waiting_nonce

    @property
    def serving(self) -> bool:
        """Whether a new subscriber gets what is published from now on, at once or almost."""
        return self.flow is Flow.LIVE or (self.flow is Flow.REFILLING and not self.failing)

    def state(self) -> str:
        """What is being done about a channel that is not settled, in one word."""
        return "reconfirming" if self.flow is Flow.LIVE else self.flow.name.lower()

    def count(self, now: float) -> None:
        """A publication has come, at this monotonic time."""
        if now - self._counted_since >= COUNTED_FOR:
            self._rate = self.per_second(now)
            self._count, self._counted_since = 0, now
        self._count += 1

    def per_second(self, now: float) -> float:
        """How many publications come in a second, on average over the last `COUNTED_FOR` seconds and up to as many
        before."""
        passed = now - self._counted_since
        if passed >= 2 * COUNTED_FOR:  # nothing has come for as long
            return 0.0 if passed >= 3 * COUNTED_FOR else self._count / passed
        before = max(0.0, COUNTED_FOR - passed)
        return (self._count + self._rate * before) / (passed + before)

    @property
    def subscriptions(self) -> list[Subscription]:
        """All subscriptions, those whose reply is not out yet included."""
        joining = (one for one in self.joining if one not in self.followers)
        return [*self.followers, *joining, *self.feeds]

    def adopt(self, epoch: str) -> bool:
        """Go on under the epoch that the stream has now; False where what was delivered is of another stream."""
        if epoch == self.position.epoch:
            return True
        if not continues(self.position, epoch, self.options.history_meta_ttl):
            return False
        self.position = StreamPosition(epoch, 0)
        return True

    def agrees(self, position: StreamPosition) -> bool:
        """Whether a position that was just read from Redis is of the stream that is delivered here."""
        ttl = self.options.history_meta_ttl
        return continues(self.position, position.epoch, ttl) or continues(position, self.position.epoch, ttl)

    def note(self, top: StreamPosition) -> None:
        """The stream is at `top`, or was a moment ago."""
        if top.epoch != self.newest.epoch or top.offset > self.newest.offset:
            self.newest = top

    def deliver(self, publication: Publication) -> int:
        """Take a publication for all local subscribers; `flush` writes it. Returns the bytes that wait, about."""
        if publication.offset:
            self.position = StreamPosition(self.position.epoch, publication.offset)
        self.publications += 1
        self.published_bytes += len(publication.body)
        if self.feeds:
            self._offer(publication)
        if self.joining:
            self._written = self._flush()
            self._deliver_past_joining(publication)
            return 0
        self._waiting.append(publication)
        self._waiting_bytes += len(publication.body) + self._around
        return self._waiting_bytes

    def pass_over(self, offset: int) -> None:
        """What is missing up to `offset` will not come, and says nothing that is not known."""
        if offset > self.position.offset:
            self.position = StreamPosition(self.position.epoch, offset)

    def flush(self) -> int:
        """Write what was delivered, as one message, to every subscriber; returns how many publications went out."""
        written = self._flush()
        if self._slow_readers is not None:  # all were given everything up to `position`
            for subscription in self.followers.take_slow():
                self._slow_readers.conflate(self, subscription)
        return written

    def _flush(self) -> int:
        """As `flush`, but what follows may not be in step with `position`."""
        publications, self._waiting, self._waiting_bytes = self._waiting, [], 0
        written, self._written = self._written, 0
        return written + self.followers.write(publications) if publications else written

    def _offer(self, publication: Publication) -> None:
        """As `deliver`, for those that are fed. What has no offset is sent at once: history will not have it."""
        for subscription, feed in list(self.feeds.items()):
            if publication.offset or self.conflates:
                feed.offer(publication)
            elif self.followers.wants(subscription, publication):
                self.followers.give(subscription, (publication,))
                self._written += 1

    def _deliver_past_joining(self, publication: Publication) -> None:
        """As `deliver` and `flush`, while some subscriptions still hold back or already have what comes."""
        self._written += self.followers.write_past(self.joining, publication)
        for subscription in list(self.joining):
            if subscription.held is not None:
                subscription.hold(publication)
            elif self._caught_up(subscription):
                self.joining.discard(subscription)

    def announce(self, kind: bytes, info: bytes) -> int:
        """Hand a join or leave to those who asked for them; returns to how many sockets it was written."""
        self._written = self._flush()
        return self.followers.announce(kind, info, self.joining, self.feeds)

    def add(self, subscription: Subscription) -> None:
        """A subscriber from now on; everything is held back until `release`."""
        self._written = self._flush()  # what was delivered before is not for it
        self.idle_since = None
        self.joining.add(subscription)
        self.traffic.subscriptions += 1

    def release(self, subscription: Subscription, offset: int) -> None:
        """The subscribe reply was sent and covers everything up to `offset`: what was held back follows, then what is
        published."""
        held, subscription.held = subscription.held or [], None
        for item in held:
            if isinstance(item, Frame):
                self.followers.send(subscription.subscriber.socket, item)
            elif (not item.offset or item.offset > offset) and self.followers.wants(subscription, item):
                self.followers.give(subscription, (item,))
        self._follow(subscription, offset)

    def _follow(self, subscription: Subscription, offset: int) -> None:
        subscription.floor = offset
        self.followers.add(subscription)
        if self._caught_up(subscription):
            self.joining.discard(subscription)
        else:
            self.joining.add(subscription)

    def detach(self, subscription: Subscription, feed: Feed) -> None:
        """From now on a subscription is given what comes by a feed."""
        self._written = self._flush()  # what was delivered before reaches it in the usual way
        self.followers.discard(subscription)
        self.joining.discard(subscription)
        self.feeds[subscription] = feed

    def attach(self, subscription: Subscription, offset: int) -> None:
        """A subscription that was fed has been given everything up to `offset`: it follows the channel again."""
        self._written = self._flush()  # what was delivered before came by its feed
        if self.feeds.pop(subscription, None) is not None:
            self._follow(subscription, offset)

    def _caught_up(self, subscription: Subscription) -> bool:
        return subscription.floor <= self.position.offset or not self.history

    def remove(self, subscription: Subscription, now: float) -> None:
        """A subscriber no more; it still gets what was delivered before."""
        self._written = self._flush()
        if subscription in self.joining or subscription in self.feeds or subscription in self.followers:
            self.traffic.subscriptions -= 1
        self.followers.discard(subscription)
        self.joining.discard(subscription)
        self.feeds.pop(subscription, None)
        if not self.followers and not self.joining and not self.feeds:
            self.idle_since = now
