"""The connect command: who the client is, which channels the server gives it, and the reply after which all begins."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from flotilla.realtime.access import permissions
from flotilla.realtime.access.authenticate import authenticate
from flotilla.realtime.access.channels import options_for, personal_channel
from flotilla.realtime.access.identity import Identity, ServerSub
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.connection_limit import register
from flotilla.realtime.client.states import State
from flotilla.realtime.client.subscriptions import Established, Wanted, check_server_side, establish, room_in_reply
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import ConnectRequest, SubscribeRequest


async def connect(client: Client, id: int, request: ConnectRequest) -> None:
    """Answer `connect`. Raises DisconnectError for bad credentials, CommandError 109 for an expired token."""
    client.move(State.CONNECTING)
    try:
        await client.wait_for_place()
        await _connect(client, id, request)
    finally:
        client.free_place()


async def _connect(client: Client, id: int, request: ConnectRequest) -> None:
    node = client.node
    revision = node.access_revision
    scope, now = client.scope or {}, node.wall()
    identity = await authenticate(request.token, scope, node.config, now, data=request.data, headers=request.headers)
    client.identity = identity
    await node.blocks.known()
    node.blocks.require(identity.user, client.address)
    client.expire_at = identity.expire_at
    client.name, client.version = request.name[:64], request.version[:32]
    client.since = round(node.wall(), 3)  # by this the oldest of a user's connections is found
    wishes = server_side(client, identity, request.subs)
    established = await _establish_all(client, wishes)
    client.registered = True
    client.commands.lets_ahead = not node.config.max_connections_per_user or not identity.user
    try:
        await register(client, _about(client))
        if any(one.subscription.broken for one in established):
            raise CommandError(ErrorCode.INTERNAL)  # a position was lost meanwhile; the client tries again at once
        node.blocks.require(identity.user, client.address)  # it may have been blocked meanwhile
    except BaseException:
        for one in established:
            client.forget_subscription(one.subscription)
        raise
    client.connected()
    client.send(client.encoding.reply(id, "connect", _result(client, identity, established)))
    for one in established:
        one.activate()
    node.connected(client)
    if node.access_revision != revision:  # access changed meanwhile, maybe this client's
        node.reauthorize(client)


def server_side(client: Client, identity: Identity, before: Mapping[str, SubscribeRequest]) -> list[Wanted]:
    """The subscriptions the server gives this connection; `before` are those the client had, with their positions.

    Raises CommandError for a channel that does not exist, DisconnectError 3505 for too many.
    """
    config = client.node.config
    subs = {sub.channel: sub for sub in identity.channels}
    personal = personal_channel(identity.user, config)
    if personal is not None:
        subs.setdefault(personal, ServerSub(personal))
    check_server_side(client, len(subs))
    wishes = []
    for sub in subs.values():
        options = sub.overrides.apply(options_for(sub.channel, config))
        known = before.get(sub.channel)
        granted = permissions.grants(
            options, user=identity.user, recoverable=True, positioned=True, join_leave=True, insecure=config.insecure
        )
        position = StreamPosition(known.epoch, known.offset) if known is not None and known.recover else None
        wishes.append(
            Wanted(
                sub.channel,
                options,
                granted,
                position,
                server_side=True,
                info=sub.info,
                data=sub.data,
                by_token=sub in identity.channels,
            )
        )
    return wishes


async def _establish_all(client: Client, wishes: list[Wanted]) -> list[Established]:
    """Make all of the subscriptions, side by side, or none of them."""
    if not wishes:
        return []
    try:
        results = await asyncio.gather(*(establish(client, wanted) for wanted in wishes), return_exceptions=True)
    except asyncio.CancelledError:  # its time is over: those that were made already are removed
        for subscription in list(client.subscriptions.values()):
            client.forget_subscription(subscription)
        raise
    failures = [result for result in results if isinstance(result, BaseException)]
    established = [result for result in results if isinstance(result, Established)]
    if failures:
        for one in established:
            client.forget_subscription(one.subscription)
        raise failures[0]
    return established


def _about(client: Client) -> bytes:
    """What others may know about this connection."""
    return replies.encode(replies.compact(name=client.name, address=client.address, since=client.since))


def _subs(established: list[Established], room: int) -> dict[str, Any]:
    """The subscriptions' results; all of them together have `room` bytes for what was missed."""
    subs = {}
    for one in established:
        size = one.size
        subs[one.subscription.channel] = one.reply(room)
        room -= 0 if one.missed else size
    return subs


def _result(client: Client, identity: Identity, established: list[Established]) -> dict[str, Any]:
    config = client.node.config
    result: dict[str, Any] = {"client": client.id, "version": client.node.version}
    if identity.via == "token":
        result |= replies.expiry(identity.expire_at, client.node.wall())
    data = client.node.connect_data(client)
    if data is not None:
        result["data"] = msgspec.Raw(data)
    if established:
        result["subs"] = _subs(established, room_in_reply(client))
    if client.session:
        result |= {"session": client.session, "node": client.node.sessions.name}
    if config.ping_interval:
        result |= {"ping": max(1, round(config.ping_interval)), "pong": True}
    return result
