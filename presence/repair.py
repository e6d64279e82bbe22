"""Repair: brings Redis back to what this incarnation ought to have after doubt or loss, and keeps keys from expiring.

Decides nothing about what ought to be there: `incarnation` says it, `own_entries`, `entries` and `leases` write it. One
turn does a bounded part of each duty, so that none keeps the others waiting. A shard that failed is left alone for a
moment; its scopes stay in doubt until they are right.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from flotilla.presence import keys
from flotilla.presence.decisions import Continuity, chunks, leftovers, orphans
from flotilla.presence.entries import MAX_PER_CALL, Entries, Leaving
from flotilla.presence.incarnation import Incarnation, Record
from flotilla.presence.lease_renewal import retry_after, wait
from flotilla.presence.leases import Fenced, Leases
from flotilla.presence.own_entries import OwnEntries
from flotilla.store import Script, Store, StoreUnavailable, jittered
from flotilla.store.shards import Shard

logger = logging.getLogger(__name__)

_PROBE = Script.load("flotilla.presence", "probe")
MAX_SCOPES = 128  # in one turn
REST = 0.25  # seconds a failed shard is left alone
LOOKS = 60  # walks over the scopes per refresh period, at least


class Repair:
    """The duties of one process, for whichever incarnation it is now. Times in seconds."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        entries: Entries,
        continuity: Continuity,
        own: OwnEntries,
        *,
        probe_every: float,
        refresh_every: float,
        idle_for: float,
        clock: Callable[[], float],
    ) -> None:
        """`idle_for`: how long a scope has had no entries when it is forgotten."""
        self._store = store
        self._leases = leases
        self._entries = entries
        self._continuity = continuity
        self._own = own
        self._probe_every = probe_every
        self._refresh_every = refresh_every
        self._idle_for = idle_for
        self._clock = clock
        self._probe_at = self._look_at = self._sweep_at = 0.0
        self._rests: dict[int, float] = {}  # shard → until when it is left alone
        self._run_ids: dict[int, bytes] = {}
        self._marks: dict[tuple[str, int], int] = {}  # (incarnation, shard) → number of the last mark left there

    async def run(self) -> None:
        """Turn after turn, for ever: at once where there is more to do or something came into doubt."""
        while True:
            self._own.in_doubt.clear()
            more = False
            try:
                more = await self.turn()
            except StoreUnavailable:
                pass  # what was not done is still to be done
            except Exception:
                logger.exception("repairing presence failed")
            if not more:
                await wait(self._own.in_doubt, retry_after(self._continuity.every))

    async def turn(self) -> bool:
        """A part of every duty that is due. True when more can be done at once."""
        incarnation, now = self._own.current(), self._clock()
        if now >= self._probe_at:
            self._probe_at = now + self._probe_every
            await self._each(self._probe(incarnation, shard) for shard in self._store.shards)
        await self._recall(incarnation)
        more = await self.repair_some(incarnation)
        if now >= self._look_at:
            more |= await self._refresh_some(incarnation)
        if now >= self._sweep_at:
            self._sweep_at = now + self._idle_for / 4
            await self._sweep(incarnation)
        return more

    async def repair_some(self, incarnation: Incarnation) -> bool:
        """Put some of the doubted scopes right. True when some are left whose shard can be asked now."""
        now = self._clock()
        ready = [scope for scope in incarnation.doubted if self._rested(scope, now)]
        await self._each(self._repair(incarnation, scope) for scope in ready[:MAX_SCOPES])
        return len(ready) > MAX_SCOPES

    async def repair_all(self, incarnation: Incarnation) -> None:
        """Put the doubted scopes right, as long as that succeeds."""
        while incarnation.doubted:
            before = len(incarnation.doubted)
            await self.repair_some(incarnation)
            if len(incarnation.doubted) >= before:
                return

    async def _each(self, calls: Iterable[Awaitable[None]]) -> None:
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, (StoreUnavailable, Fenced)):
                logger.error("repairing presence failed", exc_info=outcome)

    def _rested(self, scope: str, now: float) -> bool:
        return self._rests.get(self._entries.shard(scope).index, 0.0) <= now

    def _rest(self, shard: Shard) -> None:
        self._rests[shard.index] = self._clock() + jittered(REST)

    async def _repair(self, incarnation: Incarnation, scope: str) -> None:
        incarnation.doubted.pop(scope, None)
        record = incarnation.records.get(scope)
        if record is None:
            return
        record.calls += 1
        try:
            await self._put_right(incarnation, scope, record)
        except Fenced:
            self._own.fenced(incarnation)
        except BaseException:
            incarnation.doubt(scope)
            self._rest(self._entries.shard(scope))
            raise
        finally:
            record.calls -= 1
            incarnation.settle(scope, self._clock())

    async def _put_right(self, incarnation: Incarnation, scope: str, record: Record) -> None:
        """Every list is made at the moment of its call: calls to one shard keep their order, so a removal that is
        asked for later is carried out later."""
        if not record.registered:
            await self._own.register(incarnation, scope, record)
        name, most = incarnation.name, self._entries.most(scope)
        first, *others = [*chunks(record.entries.values(), most)] or [[]]
        found = await self._entries.put_back(name, incarnation.generation, scope, first, others=True)
        for chunk in others:
            still = [entry for entry in chunk if record.entries.get(entry.client) is entry]
            await self._entries.put_back(name, incarnation.generation, scope, still, others=False)
        for clients in chunks({*leftovers(found, record.entries, ()), *record.ends}, MAX_PER_CALL):
            extra = leftovers(clients, record.entries, incarnation.entering_in(scope))
            if extra:
                leaving = [record.ends.get(client) or Leaving(client) for client in extra]
                await self._own.drop(incarnation, scope, record, leaving)

    async def _probe(self, incarnation: Incarnation, shard: Shard) -> None:
        """See whether a shard restarted, failed over or went back in time since the last probe."""
        key = (incarnation.name, shard.index)
        self._marks = {known: mark for known, mark in self._marks.items() if known[0] == incarnation.name}
        confirmed = self._marks.get(key, 0)
        name = keys.probe_mark(incarnation.name, shard.index)
        try:
            marking = shard.run(_PROBE, [name], [confirmed + 1, self._leases.key_ttl])
            told, before = await asyncio.gather(shard.execute("INFO", "server"), marking)
        except StoreUnavailable:
            self._rest(shard)
            raise
        run_id = _run_id(told)
        known_run = self._run_ids.get(shard.index, run_id)
        self._run_ids[shard.index], self._marks[key] = run_id, confirmed + 1
        if known_run == run_id and int(before or 0) >= confirmed:
            return
        logger.warning("Redis shard %d restarted or lost data: saying again who is present", shard.index)
        audit_at = self._clock() + 2 * self._leases.ttl
        if shard is self._store.first:
            incarnation.doubt_registry(audit_at)
        else:
            incarnation.doubt_where(lambda scope: self._entries.shard(scope) is shard, audit_at)

    async def _recall(self, incarnation: Incarnation) -> None:
        """Find scopes that an older state of Redis has for this incarnation and the process has left since."""
        if not incarnation.recall:
            return
        incarnation.recall = False
        try:
            async for page in self._leases.registered(incarnation.name):
                for scope in page:
                    if scope not in incarnation.records and keys.district_of(scope) is None:
                        incarnation.open(scope, self._own.next_refresh())
                        incarnation.doubted[scope] = None
        except StoreUnavailable:
            incarnation.recall = True

    async def _refresh_some(self, incarnation: Incarnation) -> bool:
        now = self._clock()
        due = [scope for scope, record in incarnation.records.items() if record.refresh_at <= now and record.entries]
        await self._each(self._refresh(incarnation, scope) for scope in due[:MAX_SCOPES])
        if len(due) <= MAX_SCOPES:
            self._look_at = now + min(self._refresh_every / LOOKS, 2 * self._leases.ttl)
        return len(due) > MAX_SCOPES

    async def _refresh(self, incarnation: Incarnation, scope: str) -> None:
        record = incarnation.records[scope]
        record.refresh_at = self._own.next_refresh()
        mine, met = await self._entries.refresh(incarnation.name, scope)
        if not mine and record.entries:
            incarnation.doubt(scope)
        others = [name for name in met if name != incarnation.name]
        if others:
            for orphan in orphans(others, await self._leases.known()):
                if self._continuity.unbroken(self._clock()):
                    await self._leases.adopt(incarnation.name, orphan, scope)

    async def _sweep(self, incarnation: Incarnation) -> None:
        """Forget scopes without entries, here and on the first shard."""
        now = self._clock()
        closed = incarnation.close_idle(now - self._idle_for, MAX_PER_CALL)
        if not closed:
            return
        try:
            await self._leases.unregister(incarnation.name, incarnation.generation, closed)
        except StoreUnavailable:
            incarnation.generation += 1
            incarnation.reopen_idle(closed, now)


def _run_id(info: bytes) -> bytes:
    for line in info.splitlines():
        if line.startswith(b"run_id:"):
            return line
    return b""
