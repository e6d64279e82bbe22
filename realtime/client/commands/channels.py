"""Commands about one channel: subscribe, unsubscribe, publish, presence, history."""

import asyncio
from functools import partial
from typing import Any

import msgspec

from flotilla.presence.scopes import Scope
from flotilla.realtime.access import hooks, permissions, tokens
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.access.identity import NO_OVERRIDES
from flotilla.realtime.client.client import Client, Continuation
from flotilla.realtime.client.command_time import in_time
from flotilla.realtime.client.subscriptions import Wanted, check_room, establish, room_in_reply
from flotilla.realtime.conf import ChannelOptions, Hook
from flotilla.realtime.engine.epochs import continues
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.protocol import commands, replies
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.commands import ChannelRequest, HistoryRequest, PublishRequest, SubscribeRequest
from flotilla.store import StoreUnavailable

MAX_HISTORY = 300  # publications a client gets at a time


async def subscribe(client: Client, id: int, request: SubscribeRequest) -> None:
    """Answer `subscribe`, then let go what arrived meanwhile."""
    memory = client.hook_cache
    wanted = await _wanted(client, request)
    while client.hook_cache is not memory:  # access was looked at again meanwhile: what was answered may be of before
        memory = client.hook_cache
        wanted = await _wanted(client, request)
    established = await establish(client, wanted)
    client.send(replies.reply(id, "subscribe", established.told(room_in_reply(client))))
    established.activate()


async def _wanted(client: Client, request: SubscribeRequest) -> Wanted:
    """What this client may have of what it asks for. Raises CommandError or DisconnectError."""
    config, user, channel = client.node.config, client.identity.user, request.channel
    options = _options(client, channel)
    if request.type:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    if request.filtered:
        raise CommandError(ErrorCode.BAD_REQUEST)
    check_room(client, channel)
    claims = None
    if request.token:
        claims = tokens.verify_subscription(
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
    await hooks.require(hook, user, channel, _decoded(request.data), client.hook_cache)
    check_room(client, channel)  # the server may have put it in meanwhile
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
    _require_channel(request.channel)
    subscription = client.subscriptions.get(request.channel)
    if subscription is not None:
        client.forget_subscription(subscription)
    return replies.reply(id, "unsubscribe")


def publish(client: Client, id: int, request: PublishRequest) -> Continuation | None:
    """Send a publication off; the reply follows when Redis has it, and the next command need not wait for that."""
    options = _options(client, request.channel)
    if not request.data:
        raise CommandError(ErrorCode.BAD_REQUEST)
    subscribed = request.channel in client.subscriptions
    hook = permissions.publish(
        options, user=client.identity.user, subscribed=subscribed, insecure=client.node.config.insecure
    )
    if hook is not None:
        return partial(_publish_if_allowed, client, id, request, options, hook)
    _send_off(client, id, request, options)
    return None


async def _publish_if_allowed(
    client: Client, id: int, request: PublishRequest, options: ChannelOptions, hook: Hook
) -> None:
    await hooks.require(hook, client.identity.user, request.channel, _decoded(request.data), client.hook_cache)
    _send_off(client, id, request, options)


def _send_off(client: Client, id: int, request: PublishRequest, options: ChannelOptions) -> None:
    subscription = client.subscriptions.get(request.channel)
    info = client.client_info(subscription.chan_info if subscription else None)
    body = replies.publication_body(bytes(request.data), info)
    if options.has_history:
        replies.require_sendable(body, client.node.config.max_outgoing_bytes)
    answer = client.node.broker.start_publish(request.channel, body, options)
    client.unanswered += 1
    client.node.published(1)
    if client.due:  # others waited before it: the rest of its time is less than a call of Redis may take
        answer = in_time(answer, client.due)
    answer.add_done_callback(partial(_published, client, id, request.channel))


def _published(client: Client, id: int, channel: str, done: "asyncio.Future[Any]") -> None:
    client.unanswered -= 1
    if done.cancelled():
        return
    try:
        client.node.broker.published(channel, done.result())
    except Exception as error:  # noqa: BLE001  the client must be answered whatever it was
        if not isinstance(error, StoreUnavailable):
            client.node.log_failure("publish", error, client)
        client.node.stats.errors[ErrorCode.INTERNAL] += 1
        client.send(replies.error(id, CommandError(ErrorCode.INTERNAL)))
    else:
        client.send(replies.reply(id, "publish"))


async def presence(client: Client, id: int, request: ChannelRequest) -> bytes:
    """Answer `presence`; refused with 106 where the answer would be larger than a client may leave unread."""
    _may_see_presence(client, request.channel)
    members = await client.node.presence.members(Scope.channel(request.channel))
    if sum(map(len, members.values())) > client.node.config.recovery_max_bytes:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED)
    found = {client: msgspec.Raw(info) for client, info in members.items()}
    return replies.reply(id, "presence", {"presence": found})


async def presence_stats(client: Client, id: int, request: ChannelRequest) -> bytes:
    """Answer `presence_stats`."""
    _may_see_presence(client, request.channel)
    clients, users = await client.node.presence.stats(Scope.channel(request.channel))
    return replies.reply(id, "presence_stats", {"num_clients": clients, "num_users": users})


def _may_see_presence(client: Client, channel: str) -> None:
    options = _options(client, channel)
    permissions.presence(
        options,
        user=client.identity.user,
        subscribed=channel in client.subscriptions,
        insecure=client.node.config.insecure,
    )


async def history(client: Client, id: int, request: HistoryRequest) -> bytes:
    """Answer `history`: at most MAX_HISTORY publications and so many bytes; the client pages on with `since`."""
    options = _options(client, request.channel)
    config = client.node.config
    permissions.history(
        options,
        user=client.identity.user,
        subscribed=request.channel in client.subscriptions,
        insecure=config.insecure,
    )
    limit = MAX_HISTORY if request.limit < 0 else min(request.limit, MAX_HISTORY)
    result = await read_history(client.node.broker, options, request, limit, config.recovery_max_bytes)
    return replies.reply(id, "history", result)


async def read_history(
    broker: Any, options: ChannelOptions, request: HistoryRequest, limit: int, max_bytes: int
) -> dict[str, Any]:
    """A history result. Raises CommandError 107 or 112; used by the HTTP API too."""
    check_history(request)
    since = request.since
    page = await broker.history(
        request.channel,
        options,
        limit=limit,
        since=since.offset if since else None,
        reverse=request.reverse,
        max_bytes=max_bytes,
    )
    return history_result(request, page, options.history_meta_ttl)


def check_history(request: HistoryRequest) -> None:
    """Raise CommandError 107 for a page that cannot be."""
    if request.reverse and request.since is not None and request.since.offset == 0:
        raise CommandError(ErrorCode.BAD_REQUEST)


def history_result(request: HistoryRequest, page: Any, meta_ttl: float) -> dict[str, Any]:
    """A page of history as the protocol has it.

    Raises CommandError 112 when the client's epoch is another's.
    """
    since = request.since
    if (
        since is not None
        and since.epoch
        and not continues(StreamPosition(since.epoch, since.offset), page.top.epoch, meta_ttl)
    ):
        raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
    publications = [
        msgspec.Raw(replies.with_offset(publication.body, publication.offset)) for publication in page.publications
    ]
    return {"publications": publications, "epoch": page.top.epoch, "offset": page.top.offset}


def _options(client: Client, channel: str) -> ChannelOptions:
    _require_channel(channel)
    return options_for(channel, client.node.config)


def _require_channel(channel: str) -> None:
    if not channel:
        raise DisconnectError(DisconnectCode.BAD_REQUEST, detail="a command without a channel")


def _decoded(data: msgspec.Raw) -> Any:
    return commands.decoded(data) if data else None
