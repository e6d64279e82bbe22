"""The HTTP API's methods: parameters in, result out. Any instance can serve any of them."""

import asyncio
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from flotilla.presence.inspection import amembers, astats, instances
from flotilla.presence.scopes import Scope
from flotilla.realtime.api import commands, params
from flotilla.realtime.api.errors import refusal
from flotilla.realtime.api.publishing import body_of, broker, options_of, payload, prepared
from flotilla.realtime.client.commands.history import check_history, history_result
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.control import Control
from flotilla.realtime.node.operations.channels import Channels
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import HistoryRequest
from flotilla.store import StoreUnavailable, get_store

Method = Callable[[Any], Awaitable[dict[str, Any]]]


async def publish(asked: params.Publish) -> dict[str, Any]:
    """Publish into one channel."""
    options = _options(asked.channel)
    body = body_of(_data(asked), asked.tags)
    return _position(await _publish(asked.channel, options, body, asked))


async def broadcast(asked: params.Broadcast) -> dict[str, Any]:
    """Publish into several channels; each has its own outcome, in order."""
    if not asked.channels:
        raise CommandError(ErrorCode.BAD_REQUEST)
    body = body_of(_data(asked), asked.tags)

    async def one(channel: str) -> dict[str, Any]:
        return await outcome(_publish(channel, _options(channel), body, asked))

    async def one_or_error(channel: str) -> dict[str, Any]:
        try:
            return await one(channel)
        except CommandError as error:
            return refusal("broadcast", error)

    return {"responses": await asyncio.gather(*(one_or_error(channel) for channel in asked.channels))}


async def outcome(publishing: Awaitable[StreamPosition]) -> dict[str, Any]:
    """One channel's part of a broadcast."""
    try:
        return {"result": _position(await publishing)}
    except StoreUnavailable:
        return refusal("broadcast", CommandError(ErrorCode.INTERNAL))


async def presence(asked: params.Channel) -> dict[str, Any]:
    """Who is in a channel."""
    _require(_options(asked.channel).presence)
    members = await amembers(get_store(), Scope.channel(asked.channel))
    return {"presence": {client: msgspec.Raw(info) for client, info in members.items()}}


async def presence_stats(asked: params.Channel) -> dict[str, Any]:
    """How many are in a channel."""
    _require(_options(asked.channel).presence)
    clients, users = await astats(get_store(), Scope.channel(asked.channel))
    return {"num_clients": clients, "num_users": users}


async def history(asked: params.History) -> dict[str, Any]:
    """What a channel keeps; `limit` is not capped."""
    options = _options(asked.channel)
    _require(options.has_history)
    request = HistoryRequest(asked.channel, asked.limit, asked.since, asked.reverse)
    check_history(request)
    since = asked.since.offset if asked.since else None
    page = await broker().history(asked.channel, options, limit=asked.limit, since=since, reverse=asked.reverse)
    return history_result(request, page, options.history_meta_ttl)


async def history_remove(asked: params.Channel) -> dict[str, Any]:
    """Empty a channel's history; its position stays."""
    _require(_options(asked.channel).has_history)
    await broker().forget(asked.channel)
    return {}


async def channels(asked: params.Channels) -> dict[str, Any]:
    """Channels with subscribers now, as the living instances count them."""
    store = get_store()
    living = [about["incarnation"] for about in await instances(store)]
    answers = await Control(store).ask(Channels(), living)
    counts: dict[str, int] = {}
    for answer in answers.values():
        for channel, subscribers in answer.items():
            if not asked.pattern or fnmatchcase(channel, asked.pattern):
                counts[channel] = counts.get(channel, 0) + subscribers
    return {"channels": {channel: {"num_clients": count} for channel, count in sorted(counts.items())}}


async def info(_: params.Empty) -> dict[str, Any]:
    """The living instances."""
    nodes = []
    for about in await instances(get_store()):
        nodes.append({"uid": about.pop("incarnation"), **about})
    return {"nodes": nodes}


METHODS: dict[str, tuple[type[Any], Method]] = {
    "publish": (params.Publish, publish),
    "broadcast": (params.Broadcast, broadcast),
    "presence": (params.Channel, presence),
    "presence_stats": (params.Channel, presence_stats),
    "history": (params.History, history),
    "history_remove": (params.Channel, history_remove),
    "subscribe": (params.Subscribe, commands.subscribe),
    "unsubscribe": (params.Unsubscribe, commands.unsubscribe),
    "disconnect": (params.Disconnect, commands.disconnect),
    "refresh": (params.Refresh, commands.refresh),
    "reauthorize": (params.Reauthorize, commands.reauthorize),
    "rpc": (params.Rpc, commands.rpc),
    "channels": (params.Channels, channels),
    "info": (params.Empty, info),
}


async def _publish(channel: str, options: ChannelOptions, body: bytes, asked: Any) -> StreamPosition:
    return await prepared(
        channel,
        body,
        options,
        idempotency_key=asked.idempotency_key,
        skip_history=asked.skip_history,
        version=asked.version,
        version_epoch=asked.version_epoch,
    ).arun()


def _options(channel: str) -> ChannelOptions:
    return options_of(channel)


def _require(available: bool) -> None:
    if not available:
        raise CommandError(ErrorCode.NOT_AVAILABLE)


def _data(asked: params.Publish | params.Broadcast) -> bytes:
    """The payload on one line. Raises CommandError 107 when there is none, or when it is not JSON."""
    data = payload(asked.data, asked.b64data)
    if data is None:
        raise CommandError(ErrorCode.BAD_REQUEST)
    return data


def _position(position: StreamPosition) -> dict[str, Any]:
    return replies.compact(offset=position.offset, epoch=position.epoch)
