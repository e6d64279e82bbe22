"""The HTTP API's methods: parameters in, result out. Any instance can serve any of them."""

import asyncio
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Any

import msgspec

from flotilla.presence.entries import TooMany
from flotilla.presence.inspection import amembers, astats, instances
from flotilla.presence.scopes import Scope
from flotilla.realtime.api import commands, maps, params
from flotilla.realtime.api.durable import astore, is_durable
from flotilla.realtime.api.errors import refusal
from flotilla.realtime.api.publishing import body_of, broker, is_binary, options_of, payload, prepared
from flotilla.realtime.client.commands.history import check_history, history_result
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.calls import PublishKeywords
from flotilla.realtime.engine.pages import TooLarge, read_all
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
    return _position(await _publish(asked.channel, options, _body(asked, is_binary(options)), asked))


async def broadcast(asked: params.Broadcast) -> dict[str, Any]:
    """Publish into several channels; each has its own outcome, in order."""
    if not asked.channels:
        raise CommandError(ErrorCode.BAD_REQUEST)
    body = cache(partial(_body, asked))  # once for those of each kind
    if not any(map(_takes_bytes, asked.channels)):
        body(binary=False)  # what is wrong with it is wrong for all

    async def one(channel: str) -> dict[str, Any]:
        options = _options(channel)
        return await outcome(_publish(channel, options, body(binary=is_binary(options)), asked))

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
    try:
        members = await amembers(get_store(), Scope.channel(asked.channel))
    except TooMany as error:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED) from error
    return {"presence": {client: msgspec.Raw(info) for client, info in members.items()}}


async def presence_stats(asked: params.Channel) -> dict[str, Any]:
    """How many are in a channel."""
    _require(_options(asked.channel).presence)
    clients, users = await astats(get_store(), Scope.channel(asked.channel))
    return {"num_clients": clients, "num_users": users}


async def history(asked: params.History) -> dict[str, Any]:
    """What a channel keeps; `limit` is not capped, but the answer's size is."""
    options = _options(asked.channel)
    _require(options.has_history)
    request = HistoryRequest(asked.channel, asked.limit, asked.since, asked.reverse)
    check_history(request)
    since = asked.since.offset if asked.since else None
    try:
        page = await read_all(broker(), asked.channel, options, limit=asked.limit, since=since, reverse=asked.reverse)
    except TooLarge as error:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED) from error
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
    "map_publish": (params.MapPublish, maps.map_publish),
    "map_remove": (params.MapKey, maps.map_remove_method),
    "map_read_state": (params.MapReadState, maps.map_read_state),
    "map_stats": (params.Channel, maps.map_stats),
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
    keywords: PublishKeywords = {
        "idempotency_key": asked.idempotency_key,
        "skip_history": asked.skip_history,
        "version": asked.version,
        "version_epoch": asked.version_epoch,
        "delta": asked.delta,
    }
    if is_durable(options, asked.durable):
        return await astore(channel, body, options, **keywords)
    return await prepared(channel, body, options, **keywords).arun()


def _options(channel: str) -> ChannelOptions:
    return options_of(channel)


def _require(available: bool) -> None:
    if not available:
        raise CommandError(ErrorCode.NOT_AVAILABLE)


def _body(asked: params.Publish | params.Broadcast, binary: bool) -> bytes:
    """The publication. Raises CommandError 107 when there is none, or when it is not JSON where it has to be."""
    data = payload(asked.data, asked.b64data, binary=binary)
    if data is None:
        raise CommandError(ErrorCode.BAD_REQUEST)
    return body_of(data, asked.tags, asked.key, binary=binary)


def _takes_bytes(channel: str) -> bool:
    try:
        return is_binary(_options(channel))
    except CommandError:
        return False


def _position(position: StreamPosition) -> dict[str, Any]:
    return replies.compact(offset=position.offset, epoch=position.epoch)
