"""The connect command: who is it, which channels does the server give it, and the reply that opens everything."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from flotilla.realtime.access import permissions
from flotilla.realtime.access.authenticate import authenticate
from flotilla.realtime.access.channels import options_for, personal_channel
from flotilla.realtime.access.identity import Identity, ServerSub
from flotilla.realtime.client.client import Session
from flotilla.realtime.client.connection_limit import take_seat
from flotilla.realtime.client.states import State
from flotilla.realtime.client.subscriptions import Established, Wanted, check_server_side, establish, room_in_reply
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import ConnectRequest, SubscribeRequest


async def connect(session: Session, id: int, request: ConnectRequest) -> None:
    """Answer `connect`. Raises DisconnectError for bad credentials, CommandError 109 for an expired token."""
    session.move(State.CONNECTING)
    try:
        await session.take_place()
        await _connect(session, id, request)
    finally:
        session.give_place_back()


async def _connect(session: Session, id: int, request: ConnectRequest) -> None:
    node = session.node
    revision = node.rechecker.revision
    identity = await authenticate(request.token, session.scope or {}, node.config, node.wall())
    session.identity = identity
    await node.blocks.known()
    node.blocks.require(identity.user, session.address)
    session.expire_at = identity.expire_at
    session.name = request.name[:64]
    session.since = round(node.wall(), 3)  # which connection of a user is the oldest is told by it
    wishes = server_side(session, identity, request.subs)
    established = await _establish_all(session, wishes)
    session.registered = True
    try:
        await take_seat(session, _registration(session))
        if any(one.subscription.broken for one in established):
            raise CommandError(ErrorCode.INTERNAL)  # a position was lost meanwhile; the client tries again at once
        node.blocks.require(identity.user, session.address)  # it may have been blocked while it came in
    except BaseException:
        for one in established:
            session.forget_subscription(one.subscription)
        raise
    session.connected()
    session.send(replies.reply(id, "connect", _result(session, identity, established)))
    for one in established:
        one.activate()
    node.connected(session)
    if node.rechecker.revision != revision:  # access changed while it came in, maybe its own
        node.background(node.rechecker.recheck([session]))


def server_side(session: Session, identity: Identity, before: Mapping[str, SubscribeRequest]) -> list[Wanted]:
    """The subscriptions the server gives this connection; `before` are those the client had, with their positions.

    Raises CommandError for a channel that cannot be, DisconnectError 3505 for too many.
    """
    config = session.node.config
    subs = {sub.channel: sub for sub in identity.channels}
    personal = personal_channel(identity.user, config)
    if personal is not None:
        subs.setdefault(personal, ServerSub(personal))
    check_server_side(session, len(subs))
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


async def _establish_all(session: Session, wishes: list[Wanted]) -> list[Established]:
    """All or none of the subscriptions, side by side."""
    if not wishes:
        return []
    try:
        results = await asyncio.gather(*(establish(session, wanted) for wanted in wishes), return_exceptions=True)
    except asyncio.CancelledError:  # its time is over: those that are in place already are taken back
        for subscription in list(session.subscriptions.values()):
            session.forget_subscription(subscription)
        raise
    failures = [result for result in results if isinstance(result, BaseException)]
    established = [result for result in results if isinstance(result, Established)]
    if failures:
        for one in established:
            session.forget_subscription(one.subscription)
        raise failures[0]
    return established


def _registration(session: Session) -> bytes:
    """What the registry of connections keeps about this one."""
    return replies.encode(replies.compact(name=session.name, address=session.address, since=session.since))


def _told(established: list[Established], room: int) -> dict[str, Any]:
    """The subscriptions' results; all of them together have `room` bytes for what was missed."""
    subs = {}
    for one in established:
        size = one.size
        subs[one.subscription.channel] = one.told(room)
        room -= 0 if one.missed else size
    return subs


def _result(session: Session, identity: Identity, established: list[Established]) -> dict[str, Any]:
    config = session.node.config
    result: dict[str, Any] = {"client": session.client, "version": session.node.version}
    if identity.via == "token":
        result |= replies.expiry(identity.expire_at, session.node.wall())
    data = session.node.connect_data(session)
    if data is not None:
        result["data"] = msgspec.Raw(data)
    if established:
        result["subs"] = _told(established, room_in_reply(session))
    if config.ping_interval:
        result |= {"ping": max(1, round(config.ping_interval)), "pong": True}
    return result
