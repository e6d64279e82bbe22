"""Maps for the server's side: the functions that `flotilla` exports, and the methods of the HTTP API.

The server may change every entry; limits of keys and bytes hold for it as well. Maps of who is present are presence's
to change, and can be read here.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from flotilla.realtime.access.channels import PRESENCE_MAP
from flotilla.realtime.api import params
from flotilla.realtime.api.prepared import OnError, Prepared, after_commit, at_once
from flotilla.realtime.api.publishing import (
    broker,
    encode_data,
    is_binary,
    options_of,
    payload,
    require_readable,
    require_texts,
)
from flotilla.realtime.client.commands.maps import require_changed
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.map_calls import MAX_PAGE, Changed, MapPage, Mode
from flotilla.realtime.engine.maps import Maps, SetKeywords
from flotilla.realtime.losses import losses
from flotilla.realtime.protocol import bodies, maps, replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.encodings import JSON
from flotilla.store import get_store, placement_of

_MAX_TTL = 10 * 365 * 86_400  # seconds
_PAGE_BYTES = 512 * 1024


class MapChange(NamedTuple):
    """Whether an entry was changed, and the position of the map's stream."""

    done: bool
    offset: int
    epoch: str


class MapState(NamedTuple):
    """A page of a map: entries as `{"key", "data"?, "info"?, "tags"?, "offset"?}` in the order of their keys, and the
    `cursor` of the next page, "" where there is none. `keys` and `bytes` are those of the whole map."""

    entries: list[dict[str, Any]]
    cursor: str
    keys: int
    bytes: int
    offset: int
    epoch: str


def map_set(
    channel: str,
    key: str,
    data: Any,
    *,
    ttl: float | None = None,
    only: Mode = "",
    tags: Mapping[str, str] | None = None,
    on_commit: bool = True,
    using: str | None = None,
    on_error: OnError | None = None,
) -> MapChange | None:
    """Set the entry of a `key` in a map; every subscriber is told. Transactions and errors of Redis as for `publish`.

    `ttl`: seconds it stays, 0: until it is removed, None: as the namespace has it (`map_key_ttl`). `only`: "if_new"
    does nothing where the key has an entry, "if_exists" where it has none.

    Raises CommandError 108 where the channel is no map, 107 for a key or data that cannot be, 106 at the map's limits.
    """
    call = _set(channel, key, data, ttl, only, tags)
    return after_commit(on_commit, call.run, using=using, forgive=partial(losses.note, channel), on_error=on_error)


async def amap_set(
    channel: str,
    key: str,
    data: Any,
    *,
    ttl: float | None = None,
    only: Mode = "",
    tags: Mapping[str, str] | None = None,
    on_commit: bool = True,
    using: str | None = None,
    on_error: OnError | None = None,
) -> MapChange | None:
    """`map_set` for coroutines. They are in no transaction, so it sets at once, whatever `on_commit` and `using` say.
    None where an error was logged instead."""
    call = _set(channel, key, data, ttl, only, tags)
    shard = get_store().shard_for(placement_of(channel))
    return await at_once(call.arun, shard, partial(losses.note, channel), on_error)


def map_remove(
    channel: str,
    key: str,
    *,
    on_commit: bool = True,
    using: str | None = None,
    on_error: OnError | None = None,
) -> MapChange | None:
    """Take the entry of a `key` out of a map; every subscriber is told. Nothing is done where there is none."""
    call = _remove(channel, key)
    return after_commit(on_commit, call.run, using=using, forgive=partial(losses.note, channel), on_error=on_error)


async def amap_remove(
    channel: str,
    key: str,
    *,
    on_commit: bool = True,
    using: str | None = None,
    on_error: OnError | None = None,
) -> MapChange | None:
    """`map_remove` for coroutines, as `amap_set`."""
    shard = get_store().shard_for(placement_of(channel))
    return await at_once(_remove(channel, key).arun, shard, partial(losses.note, channel), on_error)


def map_get(channel: str, *, key: str = "", after: str = "", limit: int = MAX_PAGE) -> MapState:
    """A page of a map behind the key `after`, at most `limit` entries (1,000) and 512 KiB; or the entry of one `key`.

    Raises CommandError 108 where the channel is no map.
    """
    return _state(channel, key, after, limit).then(_page).run()


async def amap_get(channel: str, *, key: str = "", after: str = "", limit: int = MAX_PAGE) -> MapState:
    """`map_get` for coroutines."""
    return await _state(channel, key, after, limit).then(_page).arun()


# The HTTP API's methods


async def map_publish(asked: params.MapPublish) -> dict[str, Any]:
    """Set the entry of a key in a map."""
    options = _map_options(asked.channel)
    data = payload(asked.data, asked.b64data, binary=is_binary(options))
    if data is None:
        raise CommandError(ErrorCode.BAD_REQUEST)
    call = _set_bytes(asked.channel, asked.key, data, asked.ttl, asked.key_mode, asked.tags)
    return _changed(await call.arun())


async def map_remove_method(asked: params.MapKey) -> dict[str, Any]:
    """Take the entry of a key out of a map."""
    return _changed(await _remove(asked.channel, asked.key).arun())


async def map_read_state(asked: params.MapReadState) -> dict[str, Any]:
    """A page of a map's entries, in the order of their keys; `cursor` in the answer leads to the next."""
    page = await _state(asked.channel, asked.key, asked.cursor, asked.limit).arun()
    entries = [JSON.stored(one.body, one.offset) for one in page.entries]
    about = {"entries": entries, "offset": page.top.offset, "epoch": page.top.epoch, "num_keys": page.keys}
    return about | replies.compact(cursor=page.cursor)


async def map_stats(asked: params.Channel) -> dict[str, Any]:
    """How many entries a map has, and how many bytes they are."""
    page = await Maps(broker()).state(asked.channel, _map_options(asked.channel, read=True), limit=0)
    return {"num_keys": page.keys, "num_bytes": page.bytes}


# Calls, checked


def _set(
    channel: str, key: str, data: Any, ttl: float | None, only: Mode, tags: Mapping[str, str] | None
) -> Prepared[MapChange]:
    given = is_binary(_map_options(channel)) and isinstance(data, bytes)
    return _set_bytes(channel, key, data if given else encode_data(data), ttl, only, tags)


def _set_bytes(
    channel: str, key: str, data: bytes, ttl: float | None, only: Mode, tags: Mapping[str, str] | None
) -> Prepared[MapChange]:
    options = _map_options(channel)
    maps.require_key(key)
    require_texts(tags)
    if only not in ("", "if_new", "if_exists"):
        raise CommandError(ErrorCode.BAD_REQUEST, 'an entry is set always (""), "if_new" or "if_exists"')
    if ttl is not None and not 0 <= ttl <= _MAX_TTL:
        raise CommandError(ErrorCode.BAD_REQUEST, f"an entry stays for 0 to {_MAX_TTL} seconds")
    body = maps.entry(key, data, None, tags, binary=is_binary(options))
    require_readable(body, options)
    keywords: SetKeywords = {"ttl": options.map_key_ttl if ttl is None else ttl, "mode": only}
    where = Maps(broker())
    return Prepared(
        partial(where.set_sync, channel, key, body, options, **keywords),
        partial(where.set, channel, key, body, options, **keywords),
    ).then(_change)


def _remove(channel: str, key: str) -> Prepared[MapChange]:
    options = _map_options(channel)
    maps.require_key(key)
    where = Maps(broker())
    return Prepared(
        partial(where.remove_sync, channel, key, options),
        partial(where.remove, channel, key, options),
    ).then(_change)


def _state(channel: str, key: str, after: str, limit: int) -> Prepared[MapPage]:
    options = _map_options(channel, read=True)
    for text in (key, after):
        bodies.require_key(text)
    if limit < 1:
        raise CommandError(ErrorCode.BAD_REQUEST, "a page has at least one entry")
    where = Maps(broker())
    return Prepared(
        partial(where.state_sync, channel, options, key=key, after=after, limit=limit, max_bytes=_PAGE_BYTES),
        partial(where.state, channel, options, key=key, after=after, limit=limit, max_bytes=_PAGE_BYTES),
    )


def _map_options(channel: str, *, read: bool = False) -> ChannelOptions:
    """The options of a map. Raises CommandError 102 or 107, 108 where the channel is none, or is not to be changed."""
    options = options_of(channel)
    if not options.map:
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the channel is no map")
    if options is PRESENCE_MAP and not read:
        raise CommandError(ErrorCode.NOT_AVAILABLE, "who is present is not to be set")
    return options


# Results


def _change(changed: Changed) -> MapChange:
    require_changed(changed.code)
    return MapChange(changed.code > 0, changed.position.offset, changed.position.epoch)


def _page(page: MapPage) -> MapState:
    entries = [replies.compact(offset=one.offset) | bodies.plain(one.body) for one in page.entries]
    return MapState(entries, page.cursor, page.keys, page.bytes, page.top.offset, page.top.epoch)


def _changed(change: MapChange) -> dict[str, Any]:
    return {"changed": change.done} | replies.compact(offset=change.offset, epoch=change.epoch)
