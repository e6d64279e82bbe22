"""Entries of connections in scopes: the scripts on one scope's keys.

Each call touches one tag on one shard, but for an `add` that notes its scope as well. Holds no state: what an
incarnation ought to have is in `incarnation`.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flotilla.presence import keys
from flotilla.presence.decisions import chunks
from flotilla.presence.keys import home_of
from flotilla.presence.leases import check
from flotilla.presence.maps import NO_MAPS, ScopeMaps
from flotilla.presence.outbox import Outbox
from flotilla.store import Script, Store
from flotilla.store.resp import Argument
from flotilla.store.shards import Shard

logger = logging.getLogger(__name__)

ADD, ENTER, DROP, ASSERT, REAP, REFRESH = (
    Script.load("flotilla.presence", name) for name in ("add", "enter", "drop", "assert", "reap", "refresh")
)
_HELD = {script: Script(script.name, script.text, needs_partition=True) for script in (ADD, ENTER, DROP, ASSERT, REAP)}
"""The same where maps are told, whose streams need their partition."""
MAX_PER_CALL = 500  # entries one script works on: a few milliseconds of Redis
FULL = -4  # as in `lua/_common.lua`
SAMPLE = 200  # entries a refresh looks at
MOST = 100_000  # members in one answer: more would keep Redis from everything else for too long


class Full(Exception):
    """The scope has as many connections as it may have."""


class TooMany(Exception):
    """More are in the scope than one answer may hold."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """How joins and leaves of a scope are told: PUBLISH `topic` (head + info as msgpack bin), "" not at all.

    `per_user`: only a user's first join and last leave are; visitors, who have no user, each have their own. `outbox`:
    where they are kept as events for other services. `maps`: those that are changed with them.
    """

    topic: str = ""
    join_head: bytes = b""
    leave_head: bytes = b""
    per_user: bool = False
    outbox: Outbox | None = None
    maps: ScopeMaps = NO_MAPS

    @property
    def mode(self) -> str:
        """As the scripts want it."""
        return "user" if self.per_user else ""

    @property
    def last_keys(self) -> tuple[str, ...]:
        """The last keys of a script: maps, queues of events."""
        return (*self.maps.keys, *self.outbox.keys) if self.outbox is not None else self.maps.keys

    @property
    def most(self) -> int:
        """Entries that one script works on."""
        return self.maps.most if self.maps.keys else MAX_PER_CALL

    def script(self, script: Script) -> Script:
        """The script as it is called in this scope."""
        return _HELD[script] if self.maps.keys else script

    @property
    def told(self) -> str:
        """What the scripts write to them."""
        return self.outbox.told if self.outbox is not None else ""


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
    """A connection to be removed. `note` is what is told of its end (b"": nothing is), `user` whose it was, `cause`
    what its event says of it."""

    client: str
    user: str = ""
    note: bytes = b""
    cause: bytes = b""


class Holder(NamedTuple):
    """An entry as others see it."""

    client: str
    incarnation: str
    info: bytes


SILENT = Announcement()


class Entries:
    """The scripts on scopes. Every method raises StoreUnavailable; those for an own incarnation raise Fenced."""

    def __init__(self, store: Store, announce: Callable[[str], Announcement | None], key_ttl: float) -> None:
        self._store = store
        self._announce = announce
        self._key_ttl = max(1, int(key_ttl))

    def most(self, scope: str) -> int:
        """Entries of a scope that one script works on."""
        return self._told(scope).most

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
        arguments += told.mode, told.told, told.maps.told
        shard = self.shard(scope)
        if register:
            noted = keys.noted_with(scope)
            every = [*names, *keys.registry(incarnation), *told.last_keys]
            call = shard.run(told.script(ENTER), every, [*arguments, *noted])
        else:
            call = shard.run(told.script(ADD), [*names, *told.last_keys], arguments)
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
        arguments: list[Argument] = [incarnation, generation, told.topic, told.leave_head, self._key_ttl]
        arguments += told.mode, told.told, told.maps.told
        names = [*home_of(scope).with_ends(incarnation), *told.last_keys]
        removed: list[Removed] = []
        for some in chunks(list(leaving), told.most):
            flat: list[Argument] = [part for one in some for part in one]
            code, *found = await self.shard(scope).run(told.script(DROP), names, [*arguments, *flat])
            check(code)
            removed += _removed(found)
        return removed

    async def put_back(
        self, incarnation: str, generation: int, scope: str, entries: Iterable[Named], *, others: bool
    ) -> list[str]:
        """Say again what the incarnation has here (at most MAX_PER_CALL); silent, but for maps. With `others`, returns
        its clients that Redis has besides."""
        told = self._told(scope)
        flat = [part for entry in entries for part in entry]
        arguments: list[Argument] = [incarnation, generation, self._key_ttl, int(others), told.maps.told, *flat]
        names = [*home_of(scope).of(incarnation), *told.maps.keys]
        code, *found = await self.shard(scope).run(told.script(ASSERT), names, arguments)
        check(code)
        return [client.decode() for client in found]

    async def reap(self, dead: str, scope: str, note: bytes = b"", cause: bytes = b"") -> tuple[int, list[Removed]]:
        """Remove some entries of a dead incarnation and fence it off. Returns (how many remain, removed).

        In a user's scope the ends of the connections are noted with `note`, if there is one, and have `cause`."""
        told, home = self._told(scope), home_of(scope)
        arguments: list[Argument] = [dead, self._key_ttl, told.most, told.topic, told.leave_head]
        ends: list[Argument] = [note, cause] if home.district is not None else [b"", b""]
        arguments += ends[0], told.mode, told.told, ends[1], told.maps.told
        names = [*home.with_ends(dead), *told.last_keys]
        left, *flat = await self.shard(scope).run(told.script(REAP), names, arguments)
        return int(left), _removed(flat)

    async def refresh(self, incarnation: str, scope: str) -> tuple[bool, list[str]]:
        """Renew the keys' TTL. Returns (whether the incarnation has entries here, incarnations met here)."""
        names = [*home_of(scope).of(incarnation)[:3], *self._told(scope).maps.kept]
        mine, *met = await self.shard(scope).run(REFRESH, names, [self._key_ttl, SAMPLE])
        return bool(mine), [name.decode() for name in met]

    def _told(self, scope: str) -> Announcement:
        try:
            return self._announce(scope) or SILENT
        except Exception:  # an entry must come and go all the same
            logger.exception("no announcement for %r", scope)
            return SILENT

    async def members(self, scope: str, most: int = MOST) -> dict[str, bytes]:
        """Client → info. Raises TooMany where there are more than `most`; the number is asked for first, because Redis
        does nothing else while it reads them."""
        shard, entries = self.shard(scope), home_of(scope).entries
        require_few(await shard.execute("HLEN", entries), most)
        return infos_of(await shard.execute("HGETALL", entries))

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


def require_few(size: int, most: int) -> None:
    """Raise TooMany where so many are more than `most`."""
    if size > most:
        raise TooMany(f"{size} are in it, and one answer has at most {most}")


def infos_of(flat: Sequence[bytes]) -> dict[str, bytes]:
    """Client → info, from all fields and values of a scope's entries."""
    return {client.decode(): info_of(value) for client, value in zip(flat[::2], flat[1::2], strict=True)}


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
