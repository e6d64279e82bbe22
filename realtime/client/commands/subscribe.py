"""The commands subscribe and unsubscribe: a client enters a channel with the rights it has there, and leaves it."""

from flotilla.realtime.access import hooks, permissions, tokens
from flotilla.realtime.access.identity import NO_OVERRIDES
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.command_queue import Reply
from flotilla.realtime.client.commands.requests import data_of, options_of, require_channel
from flotilla.realtime.client.subscriptions import Established, Wanted, check_room, establish, room_in_reply
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import ChannelRequest, SubscribeRequest


async def subscribe(client: Client, id: int, request: SubscribeRequest) -> Reply:
    """Answer `subscribe`; what arrived in the channel meanwhile follows."""
    admission = client.node.admission
    ticket = admission.begins()
    try:
        established = await _established(client, request)
    finally:
        admission.ends(ticket)
    result = established.reply(room_in_reply(client)) if established.missed else established.result
    return Reply(replies.reply(id, "subscribe", result), established.activate)


async def _established(client: Client, request: SubscribeRequest) -> Established:
    cache = client.hook_cache
    wanted = await _wanted(client, request)
    while client.hook_cache is not cache:  # access changed meanwhile: the hook's answer may be older than the change
        cache = client.hook_cache
        wanted = await _wanted(client, request)
    return await establish(client, wanted)


async def _wanted(client: Client, request: SubscribeRequest) -> Wanted:
    """The subscription that this client gets for its request. Raises CommandError or DisconnectError."""
    config, user, channel = client.node.config, client.identity.user, request.channel
    options = options_of(client, channel)
    if request.type:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    if request.filtered:
        raise CommandError(ErrorCode.BAD_REQUEST)
    check_room(client, channel)
    claims = None
    if request.token:
        claims = await tokens.averify_subscription(
            request.token, config, client.node.wall(), channel=channel, client=client.id, user=user
        )
    hook = permissions.subscribe(
        channel,
        options,
        user=user,
        has_token=claims is not None,
        personal=config.user_personal_channel,
        insecure=config.insecure,
    )
    await hooks.require(hook, user, channel, data_of(request.data), client.hook_cache)
    check_room(client, channel)  # the server may have subscribed it meanwhile
    options = (claims.overrides if claims else NO_OVERRIDES).apply(options)
    granted = permissions.grants(
        options,
        user=user,
        recoverable=request.recoverable or request.recover,
        positioned=request.positioned,
        join_leave=request.join_leave,
        insecure=config.insecure,
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
        asked=bytes(request.data) if hook is not None and request.data else None,
    )


def unsubscribe(client: Client, id: int, request: ChannelRequest) -> bytes:
    """Answer `unsubscribe`; a channel the connection is not in is no error."""
    require_channel(request.channel)
    subscription = client.subscriptions.get(request.channel)
    if subscription is not None:
        client.forget_subscription(subscription)
    return replies.reply(id, "unsubscribe")
