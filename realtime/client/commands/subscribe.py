"""The commands subscribe and unsubscribe: a client enters a channel with the rights it has there, and leaves it."""

from functools import partial

from flotilla.realtime.access import permissions
from flotilla.realtime.access.identity import NO_OVERRIDES
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.command_queue import Reply
from flotilla.realtime.client.commands import maps
from flotilla.realtime.client.commands.admittance import admit, as_access_is_now
from flotilla.realtime.client.commands.requests import options_of, require_channel
from flotilla.realtime.client.subscriptions import Wanted, check_room, establish, room_in_reply
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.protocol import filters
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.commands import ChannelRequest, SubscribeRequest
from flotilla.realtime.protocol.filters import Filter
from flotilla.realtime.protocol.fossil import FOSSIL


async def subscribe(client: Client, id: int, request: SubscribeRequest) -> bytes | Reply:
    """Answer `subscribe`; what arrived in the channel meanwhile follows."""
    admission = client.node.admission
    ticket = admission.begins()
    try:
        if request.type:
            return await maps.subscribe(client, id, request)
        established = await establish(client, await as_access_is_now(client, partial(_wanted, client, request)))
    finally:
        admission.ends(ticket)
    result = established.reply(room_in_reply(client)) if established.missed else established.result
    return Reply(client.encoding.reply(id, "subscribe", result), established.activate)


async def _wanted(client: Client, request: SubscribeRequest) -> Wanted:
    """The subscription that this client gets for its request. Raises CommandError or DisconnectError."""
    channel = request.channel
    options = options_of(client, channel)
    if request.delta not in ("", FOSSIL):
        raise DisconnectError(DisconnectCode.BAD_REQUEST)
    check_room(client, channel)
    claims, asked = await admit(client, request, options)
    options = (claims.overrides if claims else NO_OVERRIDES).apply(options)
    granted = permissions.grants(
        options,
        user=client.identity.user,
        recoverable=request.recoverable or request.recover,
        positioned=request.positioned,
        join_leave=request.join_leave,
        insecure=client.node.config.insecure,
    )
    return Wanted(
        channel,
        options,
        granted,
        StreamPosition(request.epoch, request.offset) if request.recover else None,
        request.reject_unrecovered,
        expire_at=claims.expire_at if claims else None,
        info=claims.info if claims else None,
        data=claims.data if claims else None,
        by_token=claims is not None,
        asked=asked,
        filter=_filter_of(request, options),
        delta=bool(request.delta) and request.delta in options.allowed_delta_types and not request.filtered,
    )


def _filter_of(request: SubscribeRequest, options: ChannelOptions) -> Filter | None:
    """The tags filter that is asked for. Raises CommandError 107 for one that may not or cannot be used."""
    if not request.filtered:
        return None
    if not options.allow_tags_filter:
        raise CommandError(ErrorCode.BAD_REQUEST, "tags filters are not allowed in this channel")
    return filters.parse(bytes(request.tf))


def unsubscribe(client: Client, id: int, request: ChannelRequest) -> bytes:
    """Answer `unsubscribe`; a channel the connection is not in is no error."""
    require_channel(request.channel)
    subscription = client.subscriptions.get(request.channel)
    if subscription is not None:
        client.forget_subscription(subscription)
    return client.encoding.reply(id, "unsubscribe")
