"""Entries of connections in scopes: the scripts on one scope's keys.

Each call touches one tag on one shard, but for an `add` that notes its scope as well. Holds no state: what an
incarnation ought to have is in `incarnation`.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flotilla.presence import keys
from flotilla.presence.keys import home_of
from flotilla.presence.leases import check
from flotilla.store import Script, Store
from flotilla.store.resp import Argument
from flotilla.store.shards import Shard

logger = logging.getLogger(__name__)

ADD, ENTER, DROP, ASSERT, REAP, REFRESH = (
    Script.load("flotilla.presence", name) for name in ("add", "enter", "drop", "assert", "reap", "refresh")
)
MAX_PER_CALL = 500  # entries one script works on: a few milliseconds of Redis
FULL = -4  # as in `lua/_common.lua`
SAMPLE = 200  # entries a refresh looks at


class Full(Exception):
    """The scope has as many connections as it may have."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """How joins and leaves of a scope are told: PUBLISH `topic` (head + info as msgpack bin)."""

    topic: str
    join_head: bytes
    leave_head: bytes


class Removed(NamedTuple):
    """An entry that is gone. `last` says that the user has no other connection in the scope."""

    client: str
    user: str
    info: bytes
    last: bool


class Named(NamedTuple):
    """An entry as a process knows it."""

    client: str
    user: str
    info: bytes


class Leaving(NamedTuple):
    """A connection to be removed. `note` is what is told of its end (b"": nothing is), `user` whose it was."""

    client: str
    user: str = ""
    note: bytes = b""


class Holder(NamedTuple):
    """An entry as others see it."""

    client: str
    incarnation: str
    info: bytes


SILENT = Announcement("", b"", b"")


class Entries:
    """The scripts on scopes. Every method raises StoreUnavailable; those for an own incarnation raise Fenced."""

    def __init__(self, store: Store, announce: Callable[[str], Announcement | None], key_ttl: float) -> None:
        self._store = store
        self._announce = announce
        self._key_ttl = max(1, int(key_ttl))

    def shard(self, scope: str) -> Shard:
        """The shard on which a scope lives."""
        return self._store.shard_for(home_of(scope).placement)

    async def add(
        self, incarnation: str, generation: int, scope: str, entry: Named, most: int = 0, *, register: bool = False
    ) -> bool:
        """Enter a connection; announce it if it is new. True when it is the user's first.

        Raises Full when the scope has `most` connections (0: any number) without it. With `register` the scope is noted
        first, which is for scopes on the shard of the leases alone; raises LeaseMissing too, then.
        """
        told = self._told(scope)
        names = keys.own_keys(scope, incarnation)
        arguments: list[Argument] = [incarnation, generation, self._key_ttl, *entry, told.topic, told.join_head, most]
        if register:
            noted = keys.noted_with(scope)
            call = self.shard(scope).run(ENTER, [*names, *keys.registry(incarnation)], [*arguments, *noted])
        else:
            call = self.shard(scope).run(ADD, names, arguments)
        code, first = await call
        if code == FULL:
            raise Full
        check(code)
        return bool(first)

    async def drop(self, incarnation: str, generation: int, scope: str, leaving: Iterable[Leaving]) -> list[Removed]:
        """Remove connections (at most MAX_PER_CALL) and announce it; those that are not there are skipped.

        Of those with a note, which only a user's scope takes, the end is noted in the same step, to be told
        (`connection_ends`).
        """
        told = self._told(scope)
        flat: list[Argument] = [part for one in leaving for part in one]
        arguments: list[Argument] = [incarnation, generation, told.topic, told.leave_head, self._key_ttl, *flat]
        code, *found = await self.shard(scope).run(DROP, home_of(scope).with_ends(incarnation), arguments)
        check(code)
        return _removed(found)

    async def put_back(
        self, incarnation: str, generation: int, scope: str, entries: Iterable[Named], *, others: bool
    ) -> list[str]:
        """Say again what the incarnation has here (at most MAX_PER_CALL); silent. With `others`, returns its clients
        that Redis has besides."""
        flat = [part for entry in entries for part in entry]
        arguments: list[Argument] = [incarnation, generation, self._key_ttl, int(others), *flat]
        code, *found = await self.shard(scope).run(ASSERT, home_of(scope).of(incarnation), arguments)
        check(code)
        return [client.decode() for client in found]

    async def reap(self, dead: str, scope: str, note: bytes = b"") -> tuple[int, list[Removed]]:
        """Remove some entries of a dead incarnation and fence it off. Returns (how many remain, removed).

        In a user's scope the ends of the connections are noted with `note`, if there is one."""
        told, home = self._told(scope), home_of(scope)
        arguments: list[Argument] = [dead, self._key_ttl, MAX_PER_CALL, told.topic, told.leave_head]
        left, *flat = await self.shard(scope).run(
            REAP, home.with_ends(dead), [*arguments, note if home.district is not None else b""]
        )
        return int(left), _removed(flat)

    async def refresh(self, incarnation: str, scope: str) -> tuple[bool, list[str]]:
        """Renew the keys' TTL. Returns (whether the incarnation has entries here, incarnations met here)."""
        names = home_of(scope).of(incarnation)[:3]
        mine, *met = await self.shard(scope).run(REFRESH, names, [self._key_ttl, SAMPLE])
        return bool(mine), [name.decode() for name in met]

    def _told(self, scope: str) -> Announcement:
        try:
            return self._announce(scope) or SILENT
        except Exception:  # an entry must come and go all the same
            logger.exception("no announcement for %r", scope)
            return SILENT

    async def members(self, scope: str) -> dict[str, bytes]:
        """Client → info."""
        flat = await self.shard(scope).execute("HGETALL", home_of(scope).entries)
        return {client.decode(): info_of(value) for client, value in zip(flat[::2], flat[1::2], strict=True)}

    async def holders(self, scope: str) -> list[Holder]:
        """Everyone, with the incarnation whose entries they are."""
        flat = await self.shard(scope).execute("HGETALL", home_of(scope).entries)
        return [
            Holder(client.decode(), value.partition(b"\n")[0].decode(), info_of(value))
            for client, value in zip(flat[::2], flat[1::2], strict=True)
        ]

    async def stats(self, scope: str) -> tuple[int, int]:
        """(connections, distinct users), in constant time."""
        home, shard = home_of(scope), self.shard(scope)
        clients, users = shard.call("HLEN", home.entries), shard.call("HLEN", home.users)
        return int(await clients), int(await users)


def parts_of(value: bytes) -> tuple[str, str, bytes]:
    """The incarnation, user and info in an entry's value (the format is written in `lua/_common.lua`)."""
    incarnation, length, rest = value.split(b"\n", 2)
    return incarnation.decode(), rest[: int(length)].decode(), rest[int(length) :]


def info_of(value: bytes) -> bytes:
    """The info in an entry's value, alone."""
    _, length, rest = value.split(b"\n", 2)
    return rest[int(length) :]


def _removed(flat: Sequence[bytes | int]) -> list[Removed]:
    quads = zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
    return [Removed(_text(client), _text(user), _bytes(info), bool(last)) for client, user, info, last in quads]


def _text(part: bytes | int) -> str:
    return _bytes(part).decode()


def _bytes(part: bytes | int) -> bytes:
    assert isinstance(part, bytes)
    return part
