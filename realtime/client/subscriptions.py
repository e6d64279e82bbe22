"""How a client enters a channel: the channel is confirmed, missed publications are recovered, presence is entered.

Subscriptions that the client asks for, that a token lists and that the server adds all come through `establish`.
Until the caller has sent its reply, everything for the subscription is held back; `activate` then sends it.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec

from flotilla.presence.scopes import Scope
from flotilla.realtime.access import permissions
from flotilla.realtime.access.permissions import Granted
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.recovery import Recoverer
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.engine.publication import Publication, StreamPosition
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.synchronizer import NotLive
from flotilla.realtime.engine.view import Deltas, View
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.filters import Filter
from flotilla.store import StoreUnavailable

IN_REPLY = 64 * 1024  # bytes of missed publications that a reply may have, less what waits at the socket before it
PUSHED = ("recoverable", "positioned", "epoch", "offset", "data")  # the fields of a result that a subscribe push has


@dataclass(frozen=True, slots=True)
class Wanted:
    """A subscription that is to be made. `position`: up to where the client has all, None where it does not recover.
    `delta`: it is sent deltas. `map`: it is to a map, of which the client has a state.

    `by_token`: a token allowed it; `asked`: what the client sent along. Both are for when its access is checked again.
    """

    channel: str
    options: ChannelOptions
    granted: Granted
    position: StreamPosition | None = None
    reject_unrecovered: bool = False
    server_side: bool = False
    expire_at: float | None = None
    info: bytes | None = None
    data: bytes | None = None
    by_token: bool = False
    asked: bytes | None = None
    filter: Filter | None = None
    delta: bool = False
    map: bool = False

    @property
    def recovers(self) -> bool:
        """Whether it begins with what the client missed, or with what there is where the server has it so."""
        return self.granted.recoverable and (self.position is not None or self.options.auto_cache_recover)


@dataclass(slots=True)
class Established:
    """A subscription that has been sent nothing yet. Its reply says `result` and covers everything up to `offset`.

    What the client `missed` goes into the reply if it is small, else it follows, at the pace at which the client reads.
    """

    client: Client
    subscription: Subscription
    channel: LocalChannel
    offset: int
    result: dict[str, Any]
    missed: tuple[Publication, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of what was missed."""
        return sum(len(publication.body) for publication in self.missed)

    def reply(self, room: int) -> dict[str, Any]:
        """The reply, with what was missed if that takes at most `room` bytes."""
        if not self.missed or self.size > room:
            return self.result
        missed, self.missed = self.missed, ()
        encoding, deltas = self.client.encoding, self.subscription.view.deltas
        told = [encoding.whole(one.body) if deltas else one.body for one in missed]
        found = [encoding.stored(body, one.offset) for body, one in zip(told, missed, strict=True)]
        return self.result | {"publications": found}

    def activate(self) -> None:
        """The reply was sent: what was missed and what was held back follow it."""
        self.client.node.hub.feeder.release(self.channel, self.subscription, self.offset, self.missed)


def room_in_reply(client: Client) -> int:
    """Bytes of missed publications that the next reply may have. With more, a slow client would get it, and the replies
    behind it, after it has given up waiting."""
    return max(0, IN_REPLY - client.socket.waiting)


async def establish(client: Client, wanted: Wanted) -> Established:
    """Make a subscription. Raises CommandError, or StoreUnavailable when Redis is away."""
    check_format(client, wanted.options)
    if wanted.options.map and not wanted.map:
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the channel is a map: subscribe to it as one")
    subscription = Subscription(
        client,
        wanted.channel,
        positioned=wanted.granted.positioned,
        recoverable=wanted.granted.recoverable,
        join_leave=wanted.granted.join_leave,
        server_side=wanted.server_side,
        expire_at=wanted.expire_at,
        chan_info=wanted.info,
        view=View(client.format, Deltas.FIRST if wanted.delta else Deltas.OFF, wanted.filter),
    )
    subscription.by_token = wanted.by_token
    subscription.asked = wanted.asked
    client.subscriptions[wanted.channel] = subscription
    try:
        return await _establish(client, subscription, wanted)
    except BaseException:
        client.forget_subscription(subscription)
        raise


async def add_server_side(
    client: Client,
    channel: str,
    options: ChannelOptions,
    *,
    position: StreamPosition | None = None,
    expire_at: float | None = None,
    info: bytes | None = None,
    data: bytes | None = None,
    by_token: bool = False,
) -> bool:
    """Subscribe a connected client for the server; it gets a push.

    What it missed since `position` follows the push. False when it has left meanwhile or is in the channel already.
    """
    if channel in client.subscriptions:
        return False
    check_room(client, channel)
    granted = permissions.grants(
        options,
        user=client.identity.user,
        recoverable=True,
        positioned=True,
        join_leave=True,
        insecure=client.node.config.insecure,
    )
    wanted = Wanted(
        channel,
        options,
        granted,
        position,
        server_side=True,
        expire_at=expire_at,
        info=info,
        data=data,
        by_token=by_token,
    )
    established = await establish(client, wanted)
    if client.subscriptions.get(channel) is not established.subscription:  # the client left meanwhile
        client.forget_subscription(established.subscription)
        return False
    fields = {key: value for key, value in established.result.items() if key in PUSHED}
    client.send(client.encoding.push(channel, "subscribe", fields))
    established.activate()
    return True


async def _establish(client: Client, subscription: Subscription, wanted: Wanted) -> Established:
    node = client.node
    try:
        channel = await node.hub.subscribe(subscription, wanted.options)
    except NotLive as error:
        raise StoreUnavailable(str(error)) from None
    if wanted.recovers:
        _, (offset, result, missed) = await asyncio.gather(
            _enter(client, subscription, wanted), _recovered(client, subscription, wanted)
        )
    else:
        missed = ()
        offset, result = _from_now_on(client, channel, wanted)
        await _enter(client, subscription, wanted)
    if subscription.broken or not channel.agrees(StreamPosition(result.get("epoch", channel.position.epoch), offset)):
        raise CommandError(ErrorCode.INTERNAL)  # the stream changed under it; the client tries again
    if wanted.expire_at is not None:
        client.schedule()
    return Established(client, subscription, channel, offset, result, missed)


async def _enter(client: Client, subscription: Subscription, wanted: Wanted) -> None:
    """Make the connection present; the join comes back through the hub and waits for the reply."""
    options, node = wanted.options, client.node
    leaves = options.map_remove_client_on_unsubscribe
    if not (options.presence or options.join_leave or leaves or node.watches(wanted.channel)):
        return
    await node.enter(Scope.channel(wanted.channel), client, client.client_info(wanted.info), 0, subscription)


def _from_now_on(client: Client, channel: LocalChannel, wanted: Wanted) -> tuple[int, dict[str, Any]]:
    """The offset at which a subscription that recovers nothing begins, and its result."""
    top = client.node.hub.top(channel)
    return top.offset, _fields(client, wanted) | (_position_fields(top) if wanted.granted.positioned else {})


async def _recovered(
    client: Client, subscription: Subscription, wanted: Wanted
) -> tuple[int, dict[str, Any], tuple[Publication, ...]]:
    """As `_from_now_on`, for a client that comes back; and what it missed, which moves it on from the result's offset
    to the last publication that is for it."""
    fields = _fields(client, wanted) | {"was_recovering": True}
    top, found = await Recoverer(client.node, subscription, wanted.options).missed(wanted.position)
    if not found.recovered:
        if wanted.reject_unrecovered and wanted.position is not None:
            raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
        return top.offset, fields | _position_fields(top), ()
    fields["recovered"] = True
    begin = found.publications[0].offset - 1 if found.publications else top.offset
    return top.offset, fields | _position_fields(StreamPosition(top.epoch, begin)), found.publications


def _fields(client: Client, wanted: Wanted) -> dict[str, Any]:
    fields = replies.expiry(wanted.expire_at, client.node.wall())
    if wanted.data:
        fields["data"] = msgspec.Raw(wanted.data)
    if wanted.granted.positioned:
        fields["positioned"] = True
    if wanted.granted.recoverable:
        fields["recoverable"] = True
    if wanted.delta:
        fields["delta"] = True
    return fields


def _position_fields(position: StreamPosition) -> dict[str, Any]:
    return {"epoch": position.epoch} | ({"offset": position.offset} if position.offset else {})


def check_room(client: Client, channel: str) -> None:
    """Raise CommandError 105 when the connection is in the channel already, 106 when it is in too many."""
    if channel in client.subscriptions:
        raise CommandError(ErrorCode.ALREADY_SUBSCRIBED)
    if len(client.subscriptions) >= client.node.config.max_channels:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED)


def check_format(client: Client, options: ChannelOptions) -> None:
    """Raise CommandError 108 where publications are bytes of any kind, which a JSON client cannot be sent."""
    if options.publication_data_format == "binary" and not client.encoding.binary:
        raise CommandError(ErrorCode.NOT_AVAILABLE)


def check_server_side(client: Client, channels: int) -> None:
    """Raise DisconnectError 3505 when a token asks for more channels than a connection may have."""
    if channels > client.node.config.max_channels:
        raise DisconnectError(DisconnectCode.CHANNEL_LIMIT)
