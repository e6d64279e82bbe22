"""A channel as one process sees it: who subscribes here, and up to where everything has been delivered.

Pure bookkeeping and delivery; getting the channel confirmed and filling its gaps is the hub's work.
"""

import asyncio
from enum import Enum, auto

from realtime.engine.calls import NOWHERE, StreamOptions, keeps_history
from realtime.engine.publication import Publication, StreamPosition
from realtime.engine.subscription import Subscription
from realtime.protocol import replies
from realtime.protocol.frames import Frame, Outlet


class Flow(Enum):
    """Whether publications may be handed on as they come."""

    CONFIRMING = auto()  # the subscription to the group is not proven yet
    LIVE = auto()
    REFILLING = auto()  # something is missing and being fetched from history


class LocalChannel:
    """One channel's local subscribers. Every subscriber has been given everything up to `position`."""

    __slots__ = (
        "checked_at",
        "flow",
        "history",
        "idle_since",
        "joining",
        "name",
        "name_json",
        "options",
        "position",
        "sockets",
        "waiting",
        "waiting_nonce",
    )

    def __init__(self, name: str, options: StreamOptions) -> None:
        self.name = name
        self.name_json = replies.encode(name)
        self.options = options
        self.history = keeps_history(options)
        self.flow = Flow.CONFIRMING
        self.position: StreamPosition = NOWHERE
        self.sockets: dict[Subscription, Outlet] = {}
        self.joining: set[Subscription] = set()
        self.waiting: asyncio.Future[None] | None = None
        self.waiting_nonce = ""
        self.checked_at = 0.0
        self.idle_since: float | None = None

    @property
    def subscriptions(self) -> list[Subscription]:
        """All subscriptions, those whose reply is not out yet included."""
        return [*self.sockets, *(joining for joining in self.joining if joining not in self.sockets)]

    def frame(self, publication: Publication) -> Frame:
        """A publication as it goes to clients."""
        body = replies.with_offset(publication.body, publication.offset)
        return Frame(replies.push(self.name_json, b"pub", body))

    def deliver(self, publication: Publication) -> int:
        """Hand a publication to every local subscriber; returns to how many sockets it was written."""
        frame = self.frame(publication)
        if publication.offset:
            self.position = StreamPosition(self.position.epoch, publication.offset)
        if self.joining:
            return self._deliver_past_joining(frame, publication)
        for socket in self.sockets.values():
            socket.send(frame)
        return len(self.sockets)

    def _deliver_past_joining(self, frame: Frame, publication: Publication) -> int:
        """As `deliver`, while some subscriptions still hold back or already have what comes."""
        written = 0
        for subscription, socket in self.sockets.items():
            if not publication.offset or publication.offset > subscription.floor:
                socket.send(frame)
                written += 1
        for subscription in list(self.joining):
            if subscription.held is not None:
                subscription.hold(publication)
            elif self._caught_up(subscription):
                self.joining.discard(subscription)
        return written

    def announce(self, kind: bytes, info: bytes) -> int:
        """Hand a join or leave to those who asked for them; returns to how many sockets it was written."""
        frame = Frame(replies.push(self.name_json, kind, b'{"info":%s}' % info))
        for subscription in self.joining:
            if subscription.join_leave and subscription.held is not None:
                subscription.hold(frame)
        asked = [socket for subscription, socket in self.sockets.items() if subscription.join_leave]
        for socket in asked:
            socket.send(frame)
        return len(asked)

    def add(self, subscription: Subscription) -> None:
        """A subscriber from now on; everything is held back until `release`."""
        self.idle_since = None
        self.joining.add(subscription)

    def release(self, subscription: Subscription, offset: int) -> None:
        """The subscribe reply went out and covers everything up to `offset`: what was held follows, then live."""
        held, subscription.held = subscription.held or [], None
        socket = subscription.subscriber.socket
        for item in held:
            if isinstance(item, Frame):
                socket.send(item)
            elif not item.offset or item.offset > offset:
                socket.send(self.frame(item))
        subscription.floor = offset
        self.sockets[subscription] = socket
        if self._caught_up(subscription):
            self.joining.discard(subscription)

    def _caught_up(self, subscription: Subscription) -> bool:
        return subscription.floor <= self.position.offset or not self.history

    def remove(self, subscription: Subscription, now: float) -> None:
        """A subscriber no more."""
        self.sockets.pop(subscription, None)
        self.joining.discard(subscription)
        if not self.sockets and not self.joining:
            self.idle_since = now
