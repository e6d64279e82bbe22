"""Which maps the presence of a channel changes: `$clients:` and `$users:` of it, and the channel itself where what a
client has set leaves with it. Presence's scripts do it (`flotilla.presence.maps`)."""

from collections.abc import Iterator
from typing import Protocol

from flotilla.presence.maps import NO_MAPS, Kind, ScopeMaps, ToldMap, scope_maps
from flotilla.realtime.access.channels import PRESENCE_MAP
from flotilla.realtime.engine.calls import StreamOptions
from flotilla.realtime.engine.map_calls import about, kept_keys, map_keys
from flotilla.realtime.protocol.maps import CLIENTS, USERS
from flotilla.store import placement_of


class WatchedOptions(StreamOptions, Protocol):
    """The options of a channel that say which maps its presence changes."""

    @property
    def map_clients(self) -> bool: ...
    @property
    def map_users(self) -> bool: ...
    @property
    def map_remove_client_on_unsubscribe(self) -> bool: ...


def told_maps(channel: str, options: WatchedOptions) -> ScopeMaps:
    """The maps of a channel's scope; most have none."""
    if not (options.map_clients or options.map_users or options.map_remove_client_on_unsubscribe):
        return NO_MAPS
    return scope_maps(_maps(channel, options))


def _maps(channel: str, options: WatchedOptions) -> Iterator[ToldMap]:
    if options.map_clients:
        yield _map("clients", CLIENTS + channel, PRESENCE_MAP, of_presence=True)
    if options.map_users:
        yield _map("users", USERS + channel, PRESENCE_MAP, of_presence=True)
    if options.map_remove_client_on_unsubscribe:
        yield _map("leaving", channel, options, of_presence=False)


def _map(kind: Kind, channel: str, options: StreamOptions, *, of_presence: bool) -> ToldMap:
    placement = placement_of(channel)
    kept = kept_keys(placement) if of_presence else ()
    return ToldMap(kind, channel, about(channel, options), map_keys(placement), kept)
