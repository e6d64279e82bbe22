"""What is asked of Redis about maps, as values: which script, on which name, with what. Pure.

A map is entries by key beside a channel's stream; every change is a publication of the stream, so all that is promised
of streams holds for maps (`store/lua/_maps.lua`).
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from flotilla.realtime.engine import envelope
from flotilla.realtime.engine.calls import Call, StreamOptions, milliseconds
from flotilla.realtime.engine.publication import Publication, StreamPosition
from flotilla.store import Placement, Script, placement_of, reading

SET, REMOVE, END, STATE = (
    Script.load("flotilla.realtime.engine", name, needs_partition=True)
    for name in ("map_set", "map_remove", "map_end", "map_state")
)
MAX_OWNED = 100  # entries of one client that leave with it: they go in one script
MAX_PAGE = 1000  # entries
PAGE_BYTES = 64 * 1024  # of entries, but for the first
ENDS = 500  # entries that one call takes out when their time is over

Mode = Literal["", "if_new", "if_exists"]
"""When an entry is set: always, only where there is none of its key, or only where there is one."""
_KINDS = ("ms", "mx", "me", "mo", "mb")


class MapOptions(StreamOptions, Protocol):
    """The options of a channel that its map depends on; times in seconds."""

    @property
    def map_max_keys(self) -> int: ...
    @property
    def map_max_bytes(self) -> int: ...
    @property
    def map_owner(self) -> str: ...
    @property
    def map_remove_client_on_unsubscribe(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes a map: a connection and its user; "" and "": the server."""

    client: str = ""
    user: str = ""


SERVER = Author()


@dataclass(frozen=True, slots=True)
class Changed:
    """The outcome of a change: `code` is above 0 where it was made, `position` that of the stream."""

    code: int
    position: StreamPosition


@dataclass(frozen=True, slots=True)
class MapPage:
    """A page of entries, in the order of their keys; an offset of 0 is of another epoch. `cursor`: the key behind which
    the next one begins, "" where this is the last. `keys` and `bytes` are those of the whole map."""

    top: StreamPosition
    entries: tuple[Publication, ...] = ()
    cursor: str = ""
    keys: int = 0
    bytes: int = 0


NOT_DONE, NOT_OWN, TOO_MANY_KEYS, TOO_MANY_BYTES, TOO_MANY_OWNED, NOT_PRESENT = range(0, -6, -1)
"""Codes of `Changed` where nothing was."""


def map_keys(placement: Placement) -> tuple[str, ...]:
    """The keys of a channel's map, as scripts want them."""
    kinds = (placement.key(kind) for kind in ("meta", "stream"))
    partition = (placement.partition_key(kind) for kind in ("partition", "made"))
    return (*kinds, *partition, *map(placement.key, _KINDS), due_key(placement))


def kept_keys(placement: Placement) -> tuple[str, ...]:
    """Those of them that hold what is in the map."""
    return tuple(placement.key(kind) for kind in ("ms", "mx", "mb"))


def due_key(placement: Placement) -> str:
    """Of a partition: sorted set, channel with a map → when its next entry ends."""
    return placement.partition_key("map-due")


def about(channel: str, options: StreamOptions) -> bytes:
    """A channel's map and stream, as scripts want them described."""
    placement = placement_of(channel)
    first, second = placement.marks
    topic = placement.topic.encode()
    times = milliseconds(options.history_ttl), milliseconds(options.history_meta_ttl)
    numbers = b"%d %d %d %d %d %d" % (options.history_size, *times, first, second, len(topic))
    return numbers + b"\n" + topic + envelope.publication_head(channel)


def _call(script: Script, channel: str, options: StreamOptions, *rest: Any) -> Call:
    placement = placement_of(channel)
    return Call(placement, script, map_keys(placement), (about(channel, options), channel, *rest))


def set_entry(
    channel: str,
    key: str,
    body: bytes,
    options: MapOptions,
    *,
    by: Author = SERVER,
    ttl: float = 0,
    mode: Mode = "",
    present: str = "",
) -> Call:
    """Set the entry of a key; `body` is the publication that says so. `ttl`: seconds it stays, 0: till it is removed.
    `present`: a hash that has the client as long as its entries may stay, "" where that does not matter."""
    call = _call(
        SET,
        channel,
        options,
        key,
        body,
        by.client,
        by.user,
        milliseconds(ttl) if ttl else 0,
        int(options.map_remove_client_on_unsubscribe),
        options.map_max_keys,
        options.map_max_bytes,
        MAX_OWNED,
        _whose(options),
        mode,
    )
    return replace(call, keys=(*call.keys, present)) if present else call


def remove_entry(channel: str, key: str, options: MapOptions, *, by: Author = SERVER) -> Call:
    """Take the entry of a key out."""
    return _call(REMOVE, channel, options, key, by.client, by.user, _whose(options))


def end_entries(channel: str, options: StreamOptions) -> Call:
    """Take out entries whose time is over."""
    return _call(END, channel, options, ENDS)


def state(
    channel: str,
    options: StreamOptions,
    *,
    after: str = "",
    limit: int = MAX_PAGE,
    max_bytes: int = PAGE_BYTES,
    key: str = "",
) -> Call:
    """Read a page of entries behind the key `after`, or the entry of one `key`. `limit` 0: the position alone."""
    return _call(STATE, channel, options, after, min(limit, MAX_PAGE), max_bytes, key)


def _whose(options: MapOptions) -> str:
    return "" if options.map_owner == "anybody" else options.map_owner


def read_changed(answer: list[Any]) -> tuple[Changed, int]:
    """The outcome of a change, and the partition's count."""
    with reading("a change of a map"):
        return Changed(answer[0], StreamPosition(answer[1].decode(), int(answer[2]))), int(answer[3])


def read_state(answer: list[Any]) -> tuple[MapPage, int]:
    """A page of a map, and the partition's count."""
    with reading("a page of a map"):
        epoch, top, count, keys, size, cursor, *rest = answer
        entries = tuple(
            Publication(int(offset), bytes(body)) for offset, body in zip(rest[::2], rest[1::2], strict=True)
        )
        position = StreamPosition(epoch.decode(), int(top))
        return MapPage(position, entries, cursor.decode(), int(keys), int(size)), int(count)
