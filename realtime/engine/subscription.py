"""One connection's subscription to one channel, as the hub sees it."""

from typing import Protocol

from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.engine.view import PLAIN, View
from flotilla.realtime.protocol.bodies import tags_of
from flotilla.realtime.protocol.frames import Frame, Outlet

MAX_HELD = 4096  # messages one subscription may hold back before it is broken


class Subscriber(Protocol):
    """The connection behind a subscription."""

    @property
    def socket(self) -> Outlet: ...

    @property
    def busy(self) -> bool:
        """Whether one of its commands is under way, whose reply should not wait behind publications."""

    def too_slow(self) -> None:
        """It has read nothing for too long: end it."""

    def lose_position(self, subscription: "Subscription") -> None:
        """Publications were lost for good: tell the client. Must not touch the hub before it returns."""


class Subscription:
    """What the hub needs to know to deliver; `expire_at`, `chan_info`, `by_token` and `asked` are for the client.

    `view`: what its publications look like. Until the subscribe reply was sent, `held` collects what arrives;
    publications up to `floor` are not for it.
    """

    __slots__ = (
        "asked",
        "broken",
        "by_token",
        "chan_info",
        "channel",
        "expire_at",
        "floor",
        "held",
        "join_leave",
        "positioned",
        "present",
        "recoverable",
        "server_side",
        "subscriber",
        "view",
    )

    def __init__(
        self,
        subscriber: Subscriber,
        channel: str,
        *,
        positioned: bool = False,
        recoverable: bool = False,
        join_leave: bool = False,
        server_side: bool = False,
        expire_at: float | None = None,
        chan_info: bytes | None = None,
        view: View = PLAIN,
    ) -> None:
        self.subscriber = subscriber
        self.view = view
        self.channel = channel
        self.positioned = positioned
        self.recoverable = recoverable
        self.join_leave = join_leave
        self.server_side = server_side
        self.expire_at = expire_at
        self.chan_info = chan_info
        self.held: list[Publication | Frame] | None = []
        self.floor = 0
        self.broken = False
        self.by_token = False  # a token allowed it, which holds until it expires
        self.asked: bytes | None = None  # what the client sent along for the namespace's hook
        self.present = False  # has a presence entry, or one is being made, and none was asked to be removed

    def wants(self, publication: Publication) -> bool:
        """Whether its filter, if it has one, lets a publication through."""
        filter = self.view.filter
        return filter is None or filter.matches(tags_of(publication.body))

    def hold(self, item: Publication | Frame) -> None:
        """Keep what arrived before the reply; too much of it breaks the subscription, and its reply is an error."""
        if self.held is None or len(self.held) >= MAX_HELD:
            self.broken = True
        else:
            self.held.append(item)
