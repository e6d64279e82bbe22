"""The keeper of this process's lease: renews it, knows whether it is held, and lets the reaper look when it is due.

Touches the first shard alone, so that no other shard's trouble can cost the lease. What a lost lease means for the
entries is `registry`'s affair, told by the two callbacks.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from flotilla.presence.diff import Continuity
from flotilla.presence.incarnation import Life
from flotilla.presence.leases import Leases, Renewal
from flotilla.presence.reaper import Reaper
from flotilla.store import StoreUnavailable, jittered

logger = logging.getLogger(__name__)

NEVER = float("-inf")


class Keeper:
    """Keeps the lease of whatever life the process is in. Times in seconds."""

    def __init__(
        self,
        leases: Leases,
        reaper: Reaper,
        continuity: Continuity,
        *,
        life: Callable[[], Life],
        describe: Callable[[], dict[str, Any]],
        on_tombstone: Callable[[Life], None],
        on_lost: Callable[[Life], None],
        reap_every: float,
        clock: Callable[[], float],
    ) -> None:
        """`on_tombstone`: the life is over. `on_lost`: Redis had forgotten it, but it goes on."""
        self._leases = leases
        self._reaper = reaper
        self._continuity = continuity
        self._life = life
        self._describe = describe
        self._on_tombstone = on_tombstone
        self._on_lost = on_lost
        self._reap_every = reap_every
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._due = asyncio.Event()
        self._renew_at = 0.0
        self._renewed_at: float | None = None
        self._held_until = NEVER

    @property
    def held(self) -> bool:
        """Whether the lease is held, as far as this process can know."""
        return self._clock() < self._held_until

    @property
    def silent_for(self) -> float:
        """Seconds since the last renewal of this life; 0 before the first."""
        return 0.0 if self._renewed_at is None else self._clock() - self._renewed_at

    def renew_soon(self) -> None:
        """Let the loop renew in its next turn."""
        self._renew_at = 0.0
        self._due.set()

    def begin_anew(self) -> None:
        """Another life began: its lease is to be taken."""
        self._continuity.broken()
        self._held_until = NEVER
        self._renewed_at = None
        self.renew_soon()

    async def renew(self, unless_after: int | None = None) -> None:
        """Renew now, unless a beat after `unless_after` was answered meanwhile. Never raises for Redis's sake."""
        async with self._renewing:
            life, sent = self._life(), self._clock()
            if unless_after is not None and life.beat.answered > unless_after:
                return
            newborn = life.beat.answered == 0
            self._renew_at = sent + self._continuity.every
            try:
                found = await self._leases.renew(life.beat, self._describe())
            except StoreUnavailable as error:
                self._failed(life, error)
                return
            if found is Renewal.FENCED:
                self._on_tombstone(life)
            elif life is self._life():
                self._renewed(life, found, sent, newborn)

    def _failed(self, life: Life, error: Exception) -> None:
        if self.held or self._renewed_at is None:
            logger.warning("the lease of %s could not be renewed: %s", life.incarnation, error)
        self._continuity.broken()
        self._renew_at = self._clock() + retry_after(self._continuity.every)

    def _renewed(self, life: Life, found: Renewal, sent: float, newborn: bool) -> None:
        if found is not Renewal.HELD:
            self._continuity.broken()
            if not newborn:
                logger.warning("Redis lost the lease of %s: saying again who is present", life.incarnation)
                self._on_lost(life)
        self._renewed_at = self._clock()
        self._held_until = sent + self._leases.ttl
        self._continuity.renewed(sent, self._renewed_at)

    async def run(self) -> None:
        """Renew and watch for ever."""
        reap_at = self._clock() + self._reap_every
        while True:
            self._due.clear()
            try:
                if self._clock() >= self._renew_at:
                    await self.renew()
                if self._clock() >= reap_at:
                    reap_at = self._clock() + self._reap_every
                    await self._watch()
            except Exception:
                logger.exception("keeping the lease failed")
                self._continuity.broken()
                self._renew_at = self._clock() + retry_after(self._continuity.every)
            await wait(self._due, min(self._renew_at, reap_at) - self._clock())

    async def _watch(self) -> None:
        if not self.held:
            self._reaper.distrust()
            return
        try:
            await self._reaper.watch(self._life().incarnation)
        except StoreUnavailable:
            self._reaper.distrust()


def retry_after(every: float) -> float:
    """How long to wait after a failure of what is done `every` seconds; not the same for everybody."""
    return jittered(min(0.5, every / 4))


async def wait(event: asyncio.Event, delay: float) -> None:
    """Until `event` is set, or for `delay` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(delay, 0.0)):
            await event.wait()
