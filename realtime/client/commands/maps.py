"""Maps: subscribing to one, page by page, and setting or removing an entry.

A client pages through the map's state, then through what has changed since the first page, and is live when little is
missing. Until then nothing is kept for it here: each page is a command of its own, and its access is asked each time.
What a page says and what follows it have positions of one stream, so nothing is missed in between.
"""

from dataclasses import dataclass, replace
from functools import partial

import msgspec

from flotilla.presence.keys import home_of
from flotilla.presence.scopes import Scope
from flotilla.realtime.access import hooks, permissions
from flotilla.realtime.access.channels import PRESENCE_MAP, options_for, presence_base
from flotilla.realtime.access.permissions import Granted
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.command_queue import Continuation, Reply
from flotilla.realtime.client.commands.admittance import Admitted, admit, as_access_is_now
from flotilla.realtime.client.commands.requests import data_of, options_of
from flotilla.realtime.client.subscriptions import (
    Established,
    Wanted,
    check_format,
    check_room,
    establish,
    room_in_reply,
)
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import map_calls
from flotilla.realtime.engine.epochs import continues
from flotilla.realtime.engine.map_calls import Author
from flotilla.realtime.engine.publication import Page, Publication, StreamPosition
from flotilla.realtime.engine.recovery import complete
from flotilla.realtime.protocol import bodies, maps, replies
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.commands import PublishRequest, SubscribeRequest
from flotilla.realtime.protocol.fossil import FOSSIL
from flotilla.realtime.protocol.maps import MAP, Phase, Type

CLOSE = 100  # changes since the first page of the state, with which a client may be live at its last

_REFUSED = {
    map_calls.NOT_OWN: (ErrorCode.PERMISSION_DENIED, "the entry is another's"),
    map_calls.TOO_MANY_KEYS: (ErrorCode.LIMIT_EXCEEDED, "the map has as many entries as it may have"),
    map_calls.TOO_MANY_BYTES: (ErrorCode.LIMIT_EXCEEDED, "the map has as many bytes as it may have"),
    map_calls.TOO_MANY_OWNED: (ErrorCode.LIMIT_EXCEEDED, f"a client sets at most {map_calls.MAX_OWNED} entries here"),
    map_calls.NOT_PRESENT: (ErrorCode.INTERNAL, "the client is not in the channel yet, or not any more"),
}


def require_changed(code: int) -> None:
    """Raise CommandError for a change that was refused: 103 another's entry, 106 a limit, 100 not in the channel."""
    if code < 0:
        raise CommandError(*_REFUSED[code])


# Subscribing


async def subscribe(client: Client, id: int, request: SubscribeRequest) -> bytes | Reply:
    """Answer a `subscribe` to a map: with a page, or with the subscription."""
    asked, answer = await as_access_is_now(client, partial(_answered, client, id, request))
    if isinstance(answer, _Last):
        return await _live(client, id, asked, answer, Phase(request.phase))
    return answer


async def _answered(client: Client, id: int, request: SubscribeRequest) -> tuple["_Asked", "bytes | _Last"]:
    """What the client may have, and a page, or the last one, with which it is live."""
    asked = await _asked(client, request)
    if request.phase == Phase.STATE:
        return asked, await _state(client, id, request, asked)
    if request.phase == Phase.STREAM and request.epoch:
        return asked, await _stream(client, id, request, asked)
    raise CommandError(ErrorCode.BAD_REQUEST, "a map is subscribed to by its state first, then by its stream")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a client asks for, and may have: `wanted`, once it is live."""

    options: ChannelOptions
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class _Last:
    """The last page: it goes into the reply to the subscription. `before`: what has changed up to `since`, of a client
    that has the state."""

    since: StreamPosition
    state: tuple[Publication, ...] = ()
    before: tuple[Publication, ...] = ()
    recovers: bool = False


async def _asked(client: Client, request: SubscribeRequest) -> _Asked:
    """Raises CommandError or DisconnectError for what the client may not have."""
    channel = request.channel
    options = options_of(client, channel)
    base = presence_base(channel, client.node.config)
    if not options.map or request.type != _type_of(channel, base):
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the channel is no map of this type")
    if request.delta not in ("", FOSSIL):
        raise DisconnectError(DisconnectCode.BAD_REQUEST)
    if request.filtered:
        raise CommandError(ErrorCode.BAD_REQUEST, "there are no tags filters for maps")
    check_format(client, options)
    check_room(client, channel)
    if base is None:
        admitted = await admit(client, request, options)
    else:
        _require_presence(client, base)
        admitted = Admitted()
    claims = admitted.claims
    return _Asked(
        options,
        Wanted(
            channel,
            options,
            Granted(recoverable=True, positioned=True),
            reject_unrecovered=True,
            expire_at=claims.expire_at if claims else None,
            info=claims.info if claims else None,
            data=claims.data if claims else None,
            by_token=claims is not None,
            asked=admitted.asked,
            map=True,
        ),
    )


def _type_of(channel: str, base: str | None) -> Type:
    if base is None:
        return Type.MAP
    return Type.CLIENTS if channel.startswith(maps.CLIENTS) else Type.USERS


def _require_presence(client: Client, base: str) -> None:
    """Raise CommandError when this client may not see who is in a channel: maps of presence follow `presence`."""
    permissions.presence(
        options_for(base, client.node.config),
        user=client.identity.user,
        subscribed=base in client.subscriptions,
        insecure=client.node.config.insecure,
    )


async def _state(client: Client, id: int, request: SubscribeRequest, asked: _Asked) -> bytes | _Last:
    """A page of the state; the last one is the subscription if little has changed since the first."""
    if len(request.cursor.encode(errors="replace")) > bodies.MAX_KEY:
        raise CommandError(ErrorCode.BAD_REQUEST, "this is no cursor of a page")
    found = await client.node.maps.state(
        request.channel, asked.options, after=_text(request.cursor), limit=_page_size(request)
    )
    begin = StreamPosition(request.epoch, request.offset) if request.epoch else found.top
    missed = found.top.offset - begin.offset
    close = begin.epoch == found.top.epoch and 0 <= missed <= min(CLOSE, client.node.config.recovery_max_publications)
    if not found.cursor and close:
        return _Last(begin, state=found.entries)
    if begin.epoch != found.top.epoch:  # which is how the client sees that it has to begin again
        begin = found.top
    result = _result(client, Phase.STATE, begin, state=found.entries)
    return client.encoding.reply(id, "subscribe", result | replies.compact(cursor=found.cursor))


async def _stream(client: Client, id: int, request: SubscribeRequest, asked: _Asked) -> bytes | _Last:
    """What has changed since the client's position: a page of it, or the rest with the subscription."""
    since = StreamPosition(request.epoch, request.offset)
    page = await client.node.broker.history(
        request.channel,
        asked.options,
        since=since.offset,
        limit=_page_size(request, maps.MAX_PAGE),
        max_bytes=max(1, room_in_reply(client)),
    )
    last = page.publications[-1].offset if page.publications else since.offset
    if not _follows(since, page, last, asked.options):
        raise CommandError(ErrorCode.UNRECOVERABLE_POSITION)
    if last < page.top.offset:
        begin = StreamPosition(page.top.epoch, last)
        return client.encoding.reply(
            id, "subscribe", _result(client, Phase.STREAM, begin, publications=page.publications)
        )
    top = StreamPosition(page.top.epoch, last)
    return _Last(top, before=page.publications, recovers=request.recover)


def _follows(since: StreamPosition, page: Page, last: int, options: ChannelOptions) -> bool:
    """Whether a page is what follows a position, without a hole; where it is empty, nothing may follow."""
    if since.offset > page.top.offset or not continues(since, page.top.epoch, options.history_meta_ttl):
        return False
    return complete(since.offset, page.publications, last if page.publications else page.top.offset)


async def _live(client: Client, id: int, asked: _Asked, last: _Last, phase: Phase) -> bytes | Reply:
    """The subscription: with the last of the state, what has changed before, and what follows. Where what follows is
    more than is recovered at once, a page like others: the stream's pages come next, and say if it is gone."""
    _require_still(client, asked.wanted.channel)
    try:
        established = await establish(client, replace(asked.wanted, position=last.since))
    except CommandError as error:
        if error.code != ErrorCode.UNRECOVERABLE_POSITION:
            raise
        result = _result(client, phase, last.since, state=last.state, publications=last.before)
        return client.encoding.reply(id, "subscribe", result)
    result = _said(client, established, last)
    return Reply(client.encoding.reply(id, "subscribe", result), established.activate)


def _require_still(client: Client, channel: str) -> None:
    """Raise CommandError for what may have changed while a page was read: in which channels the client is."""
    check_room(client, channel)
    base = presence_base(channel, client.node.config)
    if base is not None:
        _require_presence(client, base)


def _said(client: Client, established: Established, last: _Last) -> dict[str, object]:
    """The result of a subscription. Its position is where the client is with it: what is not in it follows."""
    result = established.reply(room_in_reply(client))
    told = [*_stored(client, last.before), *result.pop("publications", ())]
    epoch = result["epoch"]
    offset = last.since.offset if established.missed else established.offset
    for name in ("was_recovering", "recovered"):
        if not last.recovers:
            result.pop(name, None)
    fields = replies.compact(offset=offset, publications=told, state=_stored(client, last.state))
    return {name: value for name, value in result.items() if name != "offset"} | {"epoch": epoch, "type": MAP} | fields


def _result(
    client: Client,
    phase: Phase,
    at: StreamPosition,
    *,
    state: tuple[Publication, ...] = (),
    publications: tuple[Publication, ...] = (),
) -> dict[str, object]:
    """The result of a page."""
    fields = replies.compact(offset=at.offset, state=_stored(client, state), publications=_stored(client, publications))
    return {"type": MAP, "phase": int(phase), "epoch": at.epoch} | fields


def _stored(client: Client, publications: tuple[Publication, ...]) -> list[msgspec.Raw]:
    return [client.encoding.stored(one.body, one.offset) for one in publications]


def _page_size(request: SubscribeRequest, default: int = maps.DEFAULT_PAGE) -> int:
    return min(request.limit, maps.MAX_PAGE) if request.limit > 0 else default


def _text(cursor: str) -> str:
    """A cursor as Redis can be told it."""
    return cursor.encode(errors="replace").decode()


# Setting and removing


def publish(client: Client, request: PublishRequest, id: int) -> Continuation:
    """Set or remove an entry; the reply comes when Redis has done it."""
    options = options_of(client, request.channel)
    if request.type != MAP or not options.map:
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the channel is no map")
    if options is PRESENCE_MAP:
        raise CommandError(ErrorCode.PERMISSION_DENIED, "who is present is not for clients to say")
    return partial(_remove if request.removed else _set, client, id, request, options)


async def _set(client: Client, id: int, request: PublishRequest, options: ChannelOptions) -> bytes:
    channel, user = request.channel, client.identity.user
    if not request.data:
        raise CommandError(ErrorCode.BAD_REQUEST)
    check_format(client, options)
    binary = options.publication_data_format == "binary"
    data = bytes(request.data)
    if len(data) > options.map_max_value_bytes:
        raise CommandError(ErrorCode.BAD_REQUEST, f"an entry has at most {options.map_max_value_bytes} bytes")
    hook = permissions.publish(
        options, user=user, subscribed=channel in client.subscriptions, insecure=client.node.config.insecure
    )
    key = _key(client, request, options)
    if hook is not None:
        told = {"key": key, "data": data if binary else data_of(request.data)}
        await hooks.require(hook, user, channel, told, client.hook_cache)
    subscription = client.subscriptions.get(channel)
    present = ""
    if options.map_remove_client_on_unsubscribe:
        if subscription is None:
            raise CommandError(ErrorCode.PERMISSION_DENIED, "entries leave with their subscriber here: subscribe first")
        present = home_of(Scope.channel(channel)).entries
    info = client.client_info(subscription.chan_info if subscription else None)
    if client.encoding.binary and not binary:
        data = bodies.one_line(data)
    body = maps.entry(key, data, info, binary=binary)
    replies.require_sendable(body, client.node.config.max_publication_bytes(options))
    client.node.published(channel)
    changed = await client.node.maps.set(
        channel, key, body, options, by=Author(client.id, user), ttl=options.map_key_ttl, present=present
    )
    require_changed(changed.code)
    return client.encoding.reply(id, "publish")


async def _remove(client: Client, id: int, request: PublishRequest, options: ChannelOptions) -> bytes:
    channel, user = request.channel, client.identity.user
    hook = permissions.remove(
        options, user=user, subscribed=channel in client.subscriptions, insecure=client.node.config.insecure
    )
    key = _key(client, request, options)
    await hooks.require(hook, user, channel, {"key": key}, client.hook_cache)
    client.node.published(channel)
    changed = await client.node.maps.remove(channel, key, options, by=Author(client.id, user))
    require_changed(changed.code)
    return client.encoding.reply(id, "publish")


def _key(client: Client, request: PublishRequest, options: ChannelOptions) -> str:
    """The key that is meant. Raises CommandError 107 for one that cannot be, 103 for a visitor where it is a user's."""
    key = request.key
    if options.map_client_key == "client_id":
        key = client.id
    elif options.map_client_key == "user_id":
        key = client.identity.user
        if not key:
            raise CommandError(ErrorCode.PERMISSION_DENIED, "visitors have no user's key")
    maps.require_key(key)
    return key
