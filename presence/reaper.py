"""The reaper: removes what dead incarnations left behind, and nothing else.

`watch` decides who is dead (first shard, in time with the lease); `work` removes entries (any shard, may be slow).
Whoever is buried stays dead: from the tombstone on every write of that incarnation is refused, so any survivor may do
the work, or do it again after another died midway. Who may bury is decided in `diff`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from presence.diff import Continuity, Sightings, may_reap
from presence.entries import Entries
from presence.leases import Leases

logger = logging.getLogger(__name__)

SCOPES_AT_ONCE = 64


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
        continuity: Continuity,
        *,
        tell: Callable[[Reaped], Awaitable[None]],
        claim: float,
        clock: Callable[[], float],
    ) -> None:
        self._leases = leases
        self._entries = entries
        self._continuity = continuity
        self._sightings = Sightings()
        self._tell = tell
        self._claim = claim
        self._clock = clock
        self._buried: dict[str, None] = {}  # an ordered set

    async def watch(self, own: str) -> bool:
        """One check. True when there is work. Raises StoreUnavailable."""
        asked = self._clock()
        held, dead = await self._leases.dead(own)
        if not may_reap(self._continuity, asked, self._clock(), held):
            self._sightings.forget()
            return False
        for target in sorted(self._sightings.confirm(dead)):
            if target != own and target not in self._buried and await self._leases.bury(own, target, self._claim):
                logger.warning("incarnation %s is dead: removing its connections", target)
                self._buried[target] = None
        return bool(self._buried)

    def distrust(self) -> None:
        """A check failed: two in a row begin anew."""
        self._sightings.forget()

    async def work(self, own: str) -> bool:
        """Reap one batch of scopes. True when more is left. Raises StoreUnavailable of the first shard only."""
        target = next(iter(self._buried), None)
        if target is None:
            return False
        if not await self._leases.bury(own, target, self._claim):  # forgotten, or another goes on
            del self._buried[target]
            return bool(self._buried)
        scopes = await self._leases.some_registered(target, SCOPES_AT_ONCE)
        outcomes = await asyncio.gather(*(self._reap(target, scope) for scope in scopes), return_exceptions=True)
        done = [scope for scope, outcome in zip(scopes, outcomes, strict=True) if outcome is True]
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if await self._leases.forget(target, done) == 0 or failed:
            del self._buried[target]  # after a failure the next check brings it back
        for error in failed[:1]:
            logger.warning("reaping %s in %d scopes failed, to be repeated: %s", target, len(failed), error)
        return bool(self._buried)

    async def _reap(self, target: str, scope: str) -> bool:
        left, removed = await self._entries.reap(target, scope)
        if removed:
            gone = [(entry.client, entry.user, entry.info) for entry in removed]
            users = [entry.user for entry in removed if entry.last]
            await self._tell(Reaped(target, scope, gone, users))
        return left == 0
