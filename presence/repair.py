"""Upkeep: brings Redis back to what this incarnation ought to have after doubt or loss, and keeps keys from expiring.

Owns no truth: `life` says what ought to be, `entries` and `leases` carry it out. One turn does one bounded slice of
each duty, so none starves another. A shard that fails rests for a moment; its scopes stay in doubt until they are
right.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from flotilla.presence import keys
from flotilla.presence.diff import Continuity, chunks, leftovers, orphans
from flotilla.presence.entries import MAX_PER_CALL, Entries, Leaving
from flotilla.presence.incarnation import Life, Record
from flotilla.presence.leases import Fenced, Leases
from flotilla.store import Script, Store, StoreUnavailable, jittered
from flotilla.store.shards import Shard

logger = logging.getLogger(__name__)

_BEAT = Script.load("flotilla.presence", "beat")
SLICE = 128  # scopes in one turn
REST = 0.25  # seconds a failed shard is left alone
LOOKS = 60  # walks over the scopes per refresh period, at least


@dataclass(frozen=True, slots=True)
class Duties:
    """What the upkeep may ask of its owner."""

    life: Callable[[], Life]
    register: Callable[[Life, str, Record], Awaitable[None]]
    fenced: Callable[[Life], None]
    drop: Callable[[Life, str, Record, list[Leaving]], Awaitable[object]]


class Upkeep:
    """See the module."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        entries: Entries,
        continuity: Continuity,
        duties: Duties,
        *,
        probe_every: float,
        refresh_every: float,
        idle_for: float,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._leases = leases
        self._entries = entries
        self._continuity = continuity
        self._duties = duties
        self._probe_every = probe_every
        self._refresh_every = refresh_every
        self._idle_for = idle_for
        self._clock = clock
        self._probe_at = self._look_at = self._sweep_at = 0.0
        self._rests: dict[int, float] = {}
        self._run_ids: dict[int, bytes] = {}
        self._beats: dict[tuple[str, int], int] = {}

    def next_refresh(self) -> float:
        """When a scope that is opened now is due: spread, so that scopes opened together part."""
        return self._clock() + self._refresh_every * random.uniform(0.5, 1)

    async def turn(self) -> bool:
        """One slice of everything. True when more can be done at once."""
        life, now = self._duties.life(), self._clock()
        if now >= self._probe_at:
            self._probe_at = now + self._probe_every
            await self._each(self._probe(life, shard) for shard in self._store.shards)
        await self._recall(life)
        more = await self.mend_some(life)
        if now >= self._look_at:
            more |= await self._refresh_some(life)
        if now >= self._sweep_at:
            self._sweep_at = now + self._idle_for / 4
            await self._sweep(life)
        return more

    async def mend_some(self, life: Life) -> bool:
        """Put a slice of the doubted scopes right. True when some are left whose shard can be asked now."""
        now = self._clock()
        ready = [scope for scope in life.doubted if self._rested(scope, now)]
        await self._each(self._mend(life, scope) for scope in ready[:SLICE])
        return len(ready) > SLICE

    async def _each(self, calls: Iterable[Awaitable[None]]) -> None:
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, (StoreUnavailable, Fenced)):
                logger.error("upkeep of presence failed", exc_info=outcome)

    def _rested(self, scope: str, now: float) -> bool:
        return self._rests.get(self._entries.shard(scope).index, 0.0) <= now

    def _rest(self, shard: Shard) -> None:
        self._rests[shard.index] = self._clock() + jittered(REST)

    async def _mend(self, life: Life, scope: str) -> None:
        life.doubted.pop(scope, None)
        record = life.records.get(scope)
        if record is None:
            return
        record.calls += 1
        try:
            await self._put_right(life, scope, record)
        except Fenced:
            self._duties.fenced(life)
        except BaseException:
            life.doubt(scope)
            self._rest(self._entries.shard(scope))
            raise
        finally:
            record.calls -= 1
            life.settle(scope, self._clock())

    async def _put_right(self, life: Life, scope: str, record: Record) -> None:
        """Every list is made in the moment of its call: calls to one shard keep their order, so a remove that comes
        after is carried out after."""
        if not record.registered:
            await self._duties.register(life, scope, record)
        incarnation = life.incarnation
        first, *others = [*chunks(record.entries.values(), MAX_PER_CALL)] or [[]]
        found = await self._entries.put_back(incarnation, life.generation, scope, first, others=True)
        for chunk in others:
            still = [entry for entry in chunk if record.entries.get(entry.client) is entry]
            await self._entries.put_back(incarnation, life.generation, scope, still, others=False)
        for clients in chunks({*leftovers(found, record.entries, ()), *record.ends}, MAX_PER_CALL):
            extra = leftovers(clients, record.entries, life.entering_in(scope))
            if extra:
                leaving = [record.ends.get(client) or Leaving(client) for client in extra]
                await self._duties.drop(life, scope, record, leaving)

    async def _probe(self, life: Life, shard: Shard) -> None:
        """See whether a shard restarted, failed over or went back in time since the last probe."""
        key = (life.incarnation, shard.index)
        self._beats = {known: beat for known, beat in self._beats.items() if known[0] == life.incarnation}
        confirmed = self._beats.get(key, 0)
        name = keys.beat(life.incarnation)
        try:
            beating = shard.run(_BEAT, [name], [confirmed + 1, self._leases.key_ttl])
            told, before = await asyncio.gather(shard.execute("INFO", "server"), beating)
        except StoreUnavailable:
            self._rest(shard)
            raise
        run_id = _run_id(told)
        known_run = self._run_ids.get(shard.index, run_id)
        self._run_ids[shard.index], self._beats[key] = run_id, confirmed + 1
        if known_run == run_id and int(before or 0) >= confirmed:
            return
        logger.warning("Redis shard %d restarted or lost data: saying again who is present", shard.index)
        audit_at = self._clock() + 2 * self._leases.ttl
        if shard is self._store.first:
            life.doubt_registry(audit_at)
        else:
            life.doubt_where(lambda scope: self._entries.shard(scope) is shard, audit_at)

    async def _recall(self, life: Life) -> None:
        """Find scopes that an older state of Redis has for this incarnation and the process has left since."""
        if not life.recall:
            return
        life.recall = False
        try:
            async for page in self._leases.registered(life.incarnation):
                for scope in page:
                    if scope not in life.records and keys.district_of(scope) is None:
                        life.open(scope, self.next_refresh())
                        life.doubted[scope] = None
        except StoreUnavailable:
            life.recall = True

    async def _refresh_some(self, life: Life) -> bool:
        now = self._clock()
        due = [scope for scope, record in life.records.items() if record.refresh_at <= now and record.entries]
        await self._each(self._refresh(life, scope) for scope in due[:SLICE])
        if len(due) <= SLICE:
            self._look_at = now + min(self._refresh_every / LOOKS, 2 * self._leases.ttl)
        return len(due) > SLICE

    async def _refresh(self, life: Life, scope: str) -> None:
        record = life.records[scope]
        record.refresh_at = self.next_refresh()
        mine, met = await self._entries.refresh(life.incarnation, scope)
        if not mine and record.entries:
            life.doubt(scope)
        others = [incarnation for incarnation in met if incarnation != life.incarnation]
        if others:
            for orphan in orphans(others, await self._leases.known()):
                if self._continuity.unbroken(self._clock()):
                    await self._leases.adopt(life.incarnation, orphan, scope)

    async def _sweep(self, life: Life) -> None:
        """Forget scopes without entries, here and on the first shard."""
        now = self._clock()
        closed = life.close_idle(now - self._idle_for, MAX_PER_CALL)
        if not closed:
            return
        try:
            await self._leases.unregister(life.incarnation, life.generation, closed)
        except StoreUnavailable:
            life.generation += 1
            life.reopen_idle(closed, now)


def _run_id(info: bytes) -> bytes:
    for line in info.splitlines():
        if line.startswith(b"run_id:"):
            return line
    return b""
