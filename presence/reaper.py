"""The reaper: removes what dead incarnations left behind, and nothing else.

`check` finds out which are dead (on the first shard, as often as leases are to be checked) and writes a tombstone for
each, which declares it dead for good. `run` removes entries, each shard by a loop of its own, so that a shard that
hangs holds up only its own scopes. Nothing here waits for a receiver of a signal. From the tombstone on every write of
that incarnation is refused: so any survivor may do the work, or do it again after another died midway. Who may declare
others dead is decided in `decisions`.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from flotilla.presence import keys
from flotilla.presence.connection_ends import ConnectionEnds
from flotilla.presence.decisions import Continuity, Sightings, chunks, known_ended, may_reap
from flotilla.presence.entries import Entries
from flotilla.presence.leases import Leases
from flotilla.store import StoreUnavailable, jittered
from flotilla.store.shards import Shard

logger = logging.getLogger(__name__)

SCOPES_AT_ONCE = 64
AGAIN_AFTER = 0.4  # seconds until what could not be done is tried again


@dataclass(frozen=True, slots=True)
class Reaped:
    """Entries of a dead incarnation that one call removed from one scope; large scopes take several."""

    incarnation: str
    scope: str
    entries: list[tuple[str, str, bytes]]  # client, user, info
    users_gone: list[str]


class Reaper:
    """Looks for dead incarnations and removes their entries."""

    def __init__(
        self,
        leases: Leases,
        entries: Entries,
        ends: ConnectionEnds,
        continuity: Continuity,
        *,
        tell: Callable[[Reaped], None],
        note: Callable[[], bytes],
        cause: bytes = b"",
        claim: float,
        clock: Callable[[], float],
    ) -> None:
        """`tell` is given what was removed. `note`: what is told of the end of a connection whose instance died (b"":
        nothing), and `cause` what its event says. `claim`: seconds for which the work on one dead incarnation is this
        process's alone."""
        self._leases = leases
        self._entries = entries
        self._ends = ends
        self._continuity = continuity
        self._sightings = Sightings()
        self._tell = tell
        self._note = note
        self._cause = cause
        self._claim = claim
        self._clock = clock
        self._buried: dict[str, set[int]] = {}  # incarnation with a tombstone → shards on which nothing of it is left
        self._due: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def check(self, own: str) -> None:
        """Look once for the dead and declare them dead; `run` removes their entries. Raises StoreUnavailable."""
        asked = self._clock()
        held, dead = await self._leases.dead(own)
        if may_reap(self._continuity, asked, self._clock(), held):
            found = self._sightings.confirm(dead)
        else:
            self._sightings.forget()
            found = known_ended(dead, held)
        for target in sorted(found):
            if target != own and target not in self._buried and await self._leases.bury(own, target, self._claim):
                logger.warning("incarnation %s is dead: removing its connections", target)
                self._buried[target] = set()
                for due in self._due.values():
                    due.set()

    def distrust(self) -> None:
        """A check failed: the next one is the first of two again."""
        self._sightings.forget()

    async def run(self, shard: Shard, own: Callable[[], str]) -> None:
        """Reap on one shard, for ever. `own` is the incarnation in whose name."""
        due = self._due[shard.index]
        while True:
            due.clear()
            try:
                await self.work(shard, own())
            except StoreUnavailable:
                pass  # what was not done is still to be done
            except Exception:
                logger.exception("reaping on Redis shard %d failed", shard.index)
            if any(shard.index not in done for done in self._buried.values()):
                await asyncio.sleep(jittered(AGAIN_AFTER))
            else:
                await due.wait()

    async def work(self, shard: Shard, own: str) -> None:
        """One walk over what dead incarnations have on this shard. Raises StoreUnavailable of the first shard only."""
        for target, done in list(self._buried.items()):
            if shard.index in done:
                continue
            if not await self._goes_on(own, target):
                continue
            if await self._walk(shard, own, target):
                done.add(shard.index)

    async def _goes_on(self, own: str, target: str) -> bool:
        """Whether the target is still there to be reaped, and by us."""
        if await self._leases.bury(own, target, self._claim):
            return True
        self._buried.pop(target, None)  # if another who reaps it dies, a check brings it back
        return False

    async def _walk(self, shard: Shard, own: str, target: str) -> bool:
        """Reap all of a target's scopes on a shard, then tell the ends of its connections. True when nothing is left
        there. The ends come last, because their owner may still note some until its scopes are fenced."""
        districts: list[keys.District] = []
        whole = True
        async for page in self._leases.registered(target):
            districts += [one for one in map(keys.district_of, page) if one and self._ends.shard(one) is shard]
            here = [one for one in page if keys.district_of(one) is None and self._entries.shard(one) is shard]
            for some in chunks(here, SCOPES_AT_ONCE):
                if not await self._goes_on(own, target):
                    return False
                failed = await self._reap_all(target, some)
                if failed == len(some):  # it is the shard, not one of its keys
                    return False
                whole &= not failed
        if not whole:
            return False
        claimed = [district.scope for district in districts if await self._ends.take_over(target, district)]
        await self._cross_off(target, claimed)
        return len(claimed) == len(districts)

    async def _reap_all(self, target: str, scopes: list[str]) -> int:
        """Reap some scopes and cross them off; gives how many could not be."""
        outcomes = await asyncio.gather(*(self._reap(target, scope) for scope in scopes), return_exceptions=True)
        await self._cross_off(target, [scope for scope, error in zip(scopes, outcomes, strict=True) if error is None])
        failed = [error for error in outcomes if error is not None]
        for error in failed[:1]:
            logger.warning("reaping %s in %d scopes failed, to be repeated: %s", target, len(failed), error)
        return len(failed)

    async def _cross_off(self, target: str, scopes: list[str]) -> None:
        if await self._leases.forget(target, scopes) == 0:
            self._buried.pop(target, None)

    async def _reap(self, target: str, scope: str) -> None:
        left = 1
        while left:
            left, removed = await self._entries.reap(target, scope, self._note(), self._cause)
            if removed:
                gone = [(entry.client, entry.user, entry.info) for entry in removed]
                self._tell(Reaped(target, scope, gone, [entry.user for entry in removed if entry.last]))
