"""The renewal of this process's lease: renews it in time, knows whether it is held, and has the reaper check in time.

Touches the first shard alone, so that no other shard's trouble can cost the lease. What a lost lease means for the
entries is decided by `registry`, which is told by the two callbacks.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from flotilla.presence.decisions import Continuity
from flotilla.presence.incarnation import Incarnation
from flotilla.presence.leases import Leases, Renewal
from flotilla.presence.reaper import Reaper
from flotilla.store import StoreUnavailable, jittered

logger = logging.getLogger(__name__)

NEVER = float("-inf")


class LeaseRenewal:
    """Renews the lease of whichever incarnation the process is now. Times in seconds."""

    def __init__(
        self,
        leases: Leases,
        reaper: Reaper,
        continuity: Continuity,
        *,
        current: Callable[[], Incarnation],
        describe: Callable[[], dict[str, Any]],
        on_tombstone: Callable[[Incarnation], None],
        on_lost: Callable[[Incarnation], None],
        reap_every: float,
        clock: Callable[[], float],
    ) -> None:
        """`on_tombstone`: the incarnation was declared dead. `on_lost`: Redis had lost its lease, but it goes on."""
        self._leases = leases
        self._reaper = reaper
        self._continuity = continuity
        self._current = current
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
        """Seconds since the last renewal of this incarnation; 0 before the first."""
        return 0.0 if self._renewed_at is None else self._clock() - self._renewed_at

    def renew_soon(self) -> None:
        """Let the loop renew in its next turn."""
        self._renew_at = 0.0
        self._due.set()

    def begin_again(self) -> None:
        """The process is another incarnation now, whose lease is to be taken."""
        self._continuity.broken()
        self._held_until = NEVER
        self._renewed_at = None
        self.renew_soon()

    async def renew(self, unless_after: int | None = None) -> None:
        """Renew now, unless a renewal with a number above `unless_after` was answered meanwhile. Never raises
        StoreUnavailable."""
        async with self._renewing:
            incarnation, sent = self._current(), self._clock()
            if unless_after is not None and incarnation.renewals.answered > unless_after:
                return
            newborn = incarnation.renewals.answered == 0
            self._renew_at = sent + self._continuity.every
            try:
                found = await self._leases.renew(incarnation.renewals, self._describe())
            except StoreUnavailable as error:
                self._failed(incarnation, error)
                return
            if found is Renewal.FENCED:
                self._on_tombstone(incarnation)
            elif incarnation is self._current():
                self._renewed(incarnation, found, sent, newborn)

    def _failed(self, incarnation: Incarnation, error: Exception) -> None:
        if self.held or self._renewed_at is None:
            logger.warning("the lease of %s could not be renewed: %s", incarnation.name, error)
        self._continuity.broken()
        self._renew_at = self._clock() + retry_after(self._continuity.every)

    def _renewed(self, incarnation: Incarnation, found: Renewal, sent: float, newborn: bool) -> None:
        if found is not Renewal.HELD:
            self._continuity.broken()
            if not newborn:
                logger.warning("Redis lost the lease of %s: saying again who is present", incarnation.name)
                self._on_lost(incarnation)
        self._renewed_at = self._clock()
        self._held_until = sent + self._leases.ttl
        self._continuity.renewed(sent, self._renewed_at)

    async def run(self) -> None:
        """Renew, and have the reaper check, for ever."""
        reap_at = self._clock() + self._reap_every
        while True:
            self._due.clear()
            try:
                if self._clock() >= self._renew_at:
                    await self.renew()
                if self._clock() >= reap_at:
                    reap_at = self._clock() + self._reap_every
                    await self._check_others()
            except Exception:
                logger.exception("renewing the lease failed")
                self._continuity.broken()
                self._renew_at = self._clock() + retry_after(self._continuity.every)
            await wait(self._due, min(self._renew_at, reap_at) - self._clock())

    async def _check_others(self) -> None:
        if not self.held:
            self._reaper.distrust()
            return
        try:
            await self._reaper.check(self._current().name)
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
