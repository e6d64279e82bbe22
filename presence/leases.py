"""Leases of incarnations: which are alive, which were declared dead, and in which scopes each may have entries.

Owns the scripts on the `{leases}` keys of the first shard. An incarnation is one life of one process. Its name is its
instance's with a random part, so that a restarted instance never revives its predecessor's entries. Holds no state and
decides nothing: `lease_renewal` renews the lease of this process, `reaper` declares others dead.
"""

import json
import secrets
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from flotilla.presence import keys
from flotilla.store import Script, Store, StoreUnavailable, reading
from flotilla.store.resp import Argument
from flotilla.store.shards import Shard

RENEW, REGISTER, UNREGISTER, DEAD, BURY, FORGET, SURRENDER, ADOPT, EXPIRE, CLAIM_NAME = (
    Script.load("flotilla.presence", name)
    for name in (
        *("renew", "register", "unregister", "dead", "bury"),
        *("forget", "surrender", "adopt", "expire", "claim_name"),
    )
)
MAX_DEAD = 100  # incarnations looked at in one check


class Fenced(Exception):
    """This incarnation was declared dead while its process was paused or cut off; its entries are gone or going."""


class LeaseMissing(StoreUnavailable):
    """Redis lost the lease (it restarted, for example), but nobody was declared dead: renew it and try again."""


class Renewal(IntEnum):
    """What a renewal found."""

    FENCED = 0
    HELD = 1
    MISSING = 2  # the lease was gone without a tombstone; it is held now
    OLDER = 3  # Redis came back with an older state; the lease is held now


@dataclass(slots=True)
class Renewals:
    """The renewals of one incarnation's lease: the numbers of the last one sent and of the last one answered, and
    Redis's time of that answer in milliseconds."""

    incarnation: str
    sent: int = 0
    answered: int = 0
    redis_ms: int = 0


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """An incarnation that holds a lease, until `ends` (ms of Redis's clock), and what it says of itself."""

    incarnation: str
    ends: float
    about: dict[str, Any]


def new_incarnation(instance: str) -> str:
    """A name for a new incarnation of `instance`."""
    return f"{keys.safe_name(instance)}.{secrets.token_hex(6)}"


def check(code: int) -> None:
    """Raise for a script's refusal."""
    if code == -1:
        raise Fenced
    if code == -2:
        raise StoreUnavailable("overtaken by a newer write")
    if code == -3:
        raise LeaseMissing("the lease is not held")


class Leases:
    """The scripts on the first shard. Every method raises StoreUnavailable."""

    def __init__(self, store: Store, *, ttl: float, key_ttl: float) -> None:
        self.ttl = ttl
        self.key_ttl = max(1, int(key_ttl))
        self._shard = store.first

    def live_on(self, shard: Shard) -> bool:
        """Whether this is the shard of the leases."""
        return shard is self._shard

    async def claim(
        self, incarnation: str, instance: str, about: dict[str, Any], spared: Collection[str] = ()
    ) -> LeaseHolder | None:
        """Take the first lease of an incarnation of `instance`, unless another one of it holds a lease and is not
        `spared`: gives that one."""
        arguments: list[Argument] = [incarnation, f"{keys.safe_name(instance)}.", int(self.ttl * 1000)]
        arguments += [json.dumps(about), self.key_ttl, *spared]
        answer = await self._shard.run(CLAIM_NAME, [keys.leases(), keys.about()], arguments)
        with reading("a claim of a name"):
            if int(answer[0]):
                return None
            _, other, ends, said = answer
            return LeaseHolder(other.decode(), float(ends), json.loads(said.partition(b"\n")[2] or b"{}"))

    async def renew(self, renewals: Renewals, about: dict[str, Any]) -> Renewal:
        """Renew the lease of `renewals.incarnation`, or take it."""
        renewals.sent += 1
        name, sent = renewals.incarnation, renewals.sent
        names = [keys.leases(), keys.about(), keys.tombstone(name), keys.registered(name), keys.generations()]
        silence = int(self.key_ttl * 750)  # ms: three quarters of a tombstone's life
        told = json.dumps(about)
        arguments: list[Argument] = [name, int(self.ttl * 1000), sent, renewals.answered, told, self.key_ttl]
        answer = await self._shard.run(RENEW, names, [*arguments, renewals.redis_ms, silence])
        with reading("a renewal of the lease"):
            code, now = map(int, answer)
            found = Renewal(code)
        renewals.answered, renewals.redis_ms = sent, now
        return found

    async def register(self, incarnation: str, generation: int, scopes: Iterable[str]) -> None:
        """Note scopes before their first entry. Raises Fenced or LeaseMissing."""
        noted = [name for scope in scopes for name in keys.noted_with(scope)]
        check(
            await self._shard.run(REGISTER, keys.registry(incarnation), [incarnation, generation, self.key_ttl, *noted])
        )

    async def unregister(self, incarnation: str, generation: int, scopes: Iterable[str]) -> None:
        """Note that scopes have no entries any more."""
        names = [keys.registered(incarnation), keys.generations()]
        check(await self._shard.run(UNREGISTER, names, [incarnation, generation, *scopes]))

    async def registered(self, incarnation: str) -> AsyncIterator[list[str]]:
        """The scopes noted for an incarnation, in pages; a scope may come twice."""
        cursor = b"0"
        while True:
            cursor, page = await self._shard.execute("SSCAN", keys.registered(incarnation), cursor, "COUNT", 500)
            yield [scope.decode() for scope in page]
            if cursor == b"0":
                return

    async def dead(self, own: str) -> tuple[bool, dict[str, bool]]:
        """Whether `own` holds its lease, and the incarnations without one: True where it was ended, not run out."""
        held, *flat = await self._shard.run(DEAD, [keys.leases()], [own, MAX_DEAD])
        return bool(held), {name.decode(): bool(ended) for name, ended in zip(flat[::2], flat[1::2], strict=True)}

    async def known(self) -> frozenset[str]:
        """Every incarnation in the list, alive or being reaped."""
        return frozenset(name.decode() for name in await self._shard.execute("ZRANGE", keys.leases(), 0, -1))

    async def bury(self, own: str, target: str, claim: float) -> bool:
        """Mark `target` dead and claim its reaping for `claim` seconds; False when that is not for us to do."""
        names = [keys.leases(), keys.tombstone(own), keys.tombstone(target), keys.claim(target)]
        return bool(await self._shard.run(BURY, names, [own, target, self.key_ttl, int(claim * 1000)]))

    async def forget(self, target: str, scopes: Iterable[str]) -> int:
        """Cross off reaped scopes, and after the last one the incarnation `target`. Returns how many are left."""
        left = await self._shard.run(FORGET, self._record(target), [target, *scopes])
        return int(left)

    async def surrender(self, incarnation: str, *, clean: bool) -> None:
        """Give an incarnation up; `clean` says that none of its entries is left."""
        await self._shard.run(SURRENDER, self._record(incarnation), [incarnation, self.key_ttl, int(clean)])

    async def adopt(self, own: str, orphan: str, scope: str) -> bool:
        """Hand an unknown incarnation with entries in `scope` to the reapers."""
        names = [keys.leases(), keys.registered(orphan)]
        return bool(await self._shard.run(ADOPT, names, [own, orphan, self.key_ttl, scope]))

    async def expire(self, incarnation: str) -> None:
        """End a lease at once: for who knows that the process has exited. One that has not may still take it again."""
        await self._shard.run(EXPIRE, [keys.leases()], [incarnation])

    async def alive(self) -> list[dict[str, Any]]:
        """What each living incarnation says of itself, with its name under "incarnation"."""
        seconds, micros = await self._shard.execute("TIME")
        held = await self._shard.execute(*_held_at(seconds, micros))
        return _describe(held, await self._shard.execute("HGETALL", keys.about()))

    async def living(self, renewed_within: float | None = None) -> list[str]:
        """The incarnations that hold a lease now, and have renewed it within so many seconds."""
        seconds, micros = await self._shard.execute("TIME")
        least = 0.0 if renewed_within is None else max(0.0, self.ttl - renewed_within)
        held = await self._shard.execute(*_held_at(int(seconds) + int(least), int(micros) + int(least % 1 * 1e6)))
        return [name.decode() for name in held]

    async def count(self) -> int:
        """How many incarnations hold a lease now."""
        return len(await self.living())

    def _record(self, incarnation: str) -> list[str]:
        own = [keys.registered(incarnation), keys.generations(), keys.tombstone(incarnation)]
        return [keys.leases(), keys.about(), *own]


def _held_at(seconds: bytes | int, micros: bytes | int) -> tuple[str, ...]:
    now = int(seconds) * 1000 + int(micros) // 1000
    return "ZRANGEBYSCORE", keys.leases(), f"({now}", "+inf"


def _describe(held: list[bytes], about: list[bytes]) -> list[dict[str, Any]]:
    told = dict(zip(about[::2], about[1::2], strict=True))
    return [
        json.loads(told[name].partition(b"\n")[2]) | {"incarnation": name.decode()} for name in held if name in told
    ]


def expire_sync(store: Store, incarnation: str) -> None:
    """`Leases.expire` for code without an event loop, such as a supervisor that saw the process exit."""
    store.first.run_sync(EXPIRE, [keys.leases()], [incarnation])


def alive_sync(store: Store) -> list[dict[str, Any]]:
    """`Leases.alive` for code without an event loop."""
    held = store.first.execute_sync(*_held_at(*store.first.execute_sync("TIME")))
    return _describe(held, store.first.execute_sync("HGETALL", keys.about()))


def left_sync(store: Store) -> dict[str, float]:
    """Seconds left of every lease that is held, by incarnation."""
    seconds, micros = store.first.execute_sync("TIME")
    now = int(seconds) * 1000 + int(micros) // 1000
    flat = store.first.execute_sync("ZRANGEBYSCORE", keys.leases(), f"({now}", "+inf", "WITHSCORES")
    return {name.decode(): (float(end) - now) / 1000 for name, end in zip(flat[::2], flat[1::2], strict=True)}
