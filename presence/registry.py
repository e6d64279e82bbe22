"""Presence: the interface, and what happens to this process's incarnations.

Invariant: presence converges to the truth within 10 s of any crash and within 1 s of any close, with one join and one
leave per connection. A process vouches for its connections by one lease. Only others that were well themselves may
declare it dead (`reaper`). Once declared dead it can write nothing under that name: it goes on as another incarnation,
and its connections are closed. What happens to those connections is left to the callbacks. What becomes of each entry
is decided in `own_entries`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from flotilla.presence.connection_ends import ConnectionEnd, ConnectionEnds
from flotilla.presence.decisions import Continuity
from flotilla.presence.entries import MOST, Announcement, Entries, Holder, Named
from flotilla.presence.incarnation import Incarnation
from flotilla.presence.lease_renewal import LeaseRenewal
from flotilla.presence.leases import Leases, new_incarnation
from flotilla.presence.names import claim
from flotilla.presence.own_entries import OwnEntries
from flotilla.presence.reaper import Reaped, Reaper
from flotilla.presence.receiver_queue import ReceiverQueue
from flotilla.presence.repair import Repair
from flotilla.presence.scopes import Scope
from flotilla.presence.signals import UserSignals
from flotilla.store import Store, StoreUnavailable, supervised

logger = logging.getLogger(__name__)

KEY_TTL = 3600.0  # seconds that keys and tombstones live without being refreshed
REFRESH_EVERY = 1200.0
LATE = 1.5  # intervals after which an instance that has not renewed its lease is not counted among the living
LAST_CALLS_WITHIN = 1.0  # seconds for receivers that are being called when the time for a stop is over
STOP_WITHIN = 2.0  # seconds receivers have at a stop; what is left then is told by other instances


async def untold(end: ConnectionEnd) -> None:
    """Nobody wants to hear of a connection's end."""


class Presence:
    """The connections of this process, and a view of everyone's. One per process; all calls from its event loop."""

    def __init__(
        self,
        store: Store,
        *,
        instance: str,
        announce: Callable[[str], Announcement | None],
        describe: Callable[[], dict[str, Any]],
        on_fenced: Callable[[], Awaitable[None]],
        on_reaped: Callable[[Reaped], None],
        on_end: Callable[[ConnectionEnd], Awaitable[None]] = untold,
        lost_note: Callable[[], bytes] = bytes,
        lost_cause: bytes = b"",
        lease_ttl: float = 6.0,
        renew_every: float = 2.0,
        reap_every: float = 1.0,
        refresh_every: float = REFRESH_EVERY,
        key_ttl: float = KEY_TTL,
        clock: Callable[[], float] = time.monotonic,
        receivers: ReceiverQueue | None = None,
    ) -> None:
        """Times in seconds. `announce`: how a scope's joins and leaves are told (None: not at all). `describe`: what
        the lease says of this process. `on_fenced` runs once per lost incarnation and shall close its connections.
        `on_end` tells the end of a connection that was removed from its user's scope with a note, or whose instance
        died: it then has `lost_note` (b"": nobody wants to hear of it). `lost_cause`: what its event says then."""
        self._instance = instance
        self._on_fenced = on_fenced
        self._on_reaped = on_reaped
        self._clock = clock
        self._current = Incarnation(new_incarnation(instance))
        self._leases = Leases(store, ttl=lease_ttl, key_ttl=key_ttl)
        self._entries = Entries(store, announce, key_ttl)
        self._continuity = Continuity(lease_ttl, renew_every)
        self._shards = store.shards
        self.receivers = receivers or ReceiverQueue()
        self.ends = ConnectionEnds(store, self.receivers, on_end, key_ttl)
        self._signals = UserSignals(self.receivers, Presence)
        self._reaper = Reaper(
            self._leases, self._entries, self.ends, self._continuity,
            tell=self._reaped, note=lost_note, cause=lost_cause, claim=2 * reap_every, clock=clock,
        )  # fmt: skip
        self._renewal = LeaseRenewal(
            self._leases, self._reaper, self._continuity, current=lambda: self._current, describe=describe,
            on_tombstone=self._fence, on_lost=self._lost, reap_every=reap_every, clock=clock,
        )  # fmt: skip
        self._own = OwnEntries(
            self._entries, self._leases, self.ends, self._renewal, self._signals,
            current=lambda: self._current, fenced=self._fence, refresh_every=refresh_every, clock=clock,
        )  # fmt: skip
        self._repair = Repair(
            store, self._leases, self._entries, self._continuity, self._own,
            probe_every=renew_every, refresh_every=refresh_every, idle_for=5 * renew_every, clock=clock,
        )  # fmt: skip
        self._tasks: list[asyncio.Task[None]] = []
        self._fencings: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def incarnation(self) -> str:
        """The name under which this process's entries stand; another after it was fenced."""
        return self._current.name

    @property
    def alive(self) -> bool:
        """Whether the lease is held, as far as this process can know."""
        return not self._stopped and self._renewal.held

    @property
    def silent_for(self) -> float:
        """Seconds since Redis last renewed the lease of this incarnation; 0 before it ever did."""
        return self._renewal.silent_for

    async def claim_name(self, about: dict[str, Any], replaces: int | None = None) -> None:
        """Take the first lease, before `start`, unless another instance of this name lives, whose process is not
        `replaces`. Raises NameTaken."""
        await claim(self._leases, self._current.name, self._instance, about, replaces)

    async def start(self) -> None:
        """Take the lease and begin to renew it. Where Redis is away this is tried again and again; adds fail until the
        lease is held."""
        await self._renewal.renew()
        self._begin()

    def _begin(self) -> None:
        def own() -> str:
            return self._current.name

        self._tasks = [
            supervised("presence-lease", self._renewal.run),
            supervised("presence-upkeep", self._repair.run),
            *(supervised("presence-reaping", partial(self._reaper.run, shard, own)) for shard in self._shards),
            supervised("presence-ends", self.ends.run),
            supervised("presence-lane", self.receivers.run),
        ]

    async def stop(self, within: float = STOP_WITHIN) -> None:
        """Remove what is left of our entries, announce it, and give the lease back. Where Redis is away the lease
        runs out, and others do it. Receivers of signals have `within` seconds; what is left then is told by others.
        """
        self._stopped = True
        self._own.close()
        give_up = self._clock() + within
        await self.removed(within)
        telling = [task for task in self._tasks if task.get_name() in ("presence-ends", "presence-lane")]
        others = [task for task in self._tasks if task not in telling]
        await _cancel(*others, *self._own.removals, *self._fencings)
        incarnation = self._current
        await self._repair.repair_all(incarnation)
        clean = await self._own.clear(incarnation) and not self._current.recall
        if telling:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + max(0.0, give_up - self._clock())):
                    await self.receivers.empty()
            self.receivers.halt()
            await asyncio.wait(telling[-1:], timeout=LAST_CALLS_WITHIN)
        await _cancel(*telling)
        self.receivers.close()
        with contextlib.suppress(StoreUnavailable):
            await self.ends.cross_off()
            await self._leases.surrender(self._current.name, clean=clean and self.ends.clear)

    async def add(self, scope: str, client: str, user: str, info: bytes, most: int = 0) -> bool:
        """Enter a connection, after everything that was asked about it earlier; a repeat announces nothing. True when
        it is the user's first in the scope.

        Raises Fenced (this incarnation is dead), Full (`most` are there), StoreUnavailable (nothing will remain of it:
        the caller may try again), or ValueError for a name that is no scope or no Unicode.
        """
        return await self._own.add(scope, Named(client, user, info), most)

    def remove(self, scope: str, client: str, note: bytes = b"", cause: bytes = b"") -> "asyncio.Future[bool]":
        """Remove a connection, after everything that was asked about it earlier and before all that is asked later.

        Never fails and is never lost: when Redis is away it is done later. The result may be waited for: True when it
        was the user's last in the scope. A client that is not there is nothing to remove. With a `note`, which only a
        user's scope takes, the connection's end is told (`on_end`) by whoever removes it: this process or its reapers.
        `cause` is what its event in an outbox says of it.
        """
        return self._own.remove(scope, client, note, cause)

    async def removed(self, within: float) -> None:
        """Return when every removal that was asked for is over, or after `within` seconds."""
        await self._own.removed(within)

    async def members(self, scope: str, most: int = MOST) -> dict[str, bytes]:
        """Everyone in a scope: client → info. Raises StoreUnavailable, and TooMany where there are more than `most`."""
        return await self._entries.members(scope, most)

    async def holders(self, scope: str) -> list[Holder]:
        """Everyone in a scope, with the incarnation that vouches for them. Raises StoreUnavailable."""
        return await self._entries.holders(scope)

    async def stats(self, scope: str) -> tuple[int, int]:
        """(connections, distinct users) of a scope, in constant time. Raises StoreUnavailable."""
        return await self._entries.stats(scope)

    async def instances(self) -> list[dict[str, Any]]:
        """What each living process says of itself, and its "incarnation". Raises StoreUnavailable."""
        return await self._leases.alive()

    async def tell(self) -> None:
        """Say anew what `describe` gives, without waiting for the next renewal."""
        await self._renewal.renew()

    async def living(self) -> list[str]:
        """The incarnations that hold a lease now and renew it in time. Raises StoreUnavailable."""
        return await self._leases.living(LATE * self._continuity.every)

    async def leases(self) -> int:
        """How many processes of the cluster hold a lease. Raises StoreUnavailable."""
        return await self._leases.count()

    @property
    def busy(self) -> bool:
        """Whether anything that was asked of this process is still under way, signals included."""
        return self._own.busy or self.receivers.busy or not self.ends.clear

    def entered(self) -> tuple[int, int]:
        """How many entries this process vouches for: in users' scopes, and in channels'. Any thread may ask."""
        records = list(self._current.records.items())
        sizes = [(Scope.user_of(scope) is not None, len(record.entries)) for scope, record in records]
        users = sum(size for of_user, size in sizes if of_user)
        return users, sum(size for _, size in sizes) - users

    async def expire(self, incarnation: str) -> None:
        """End the lease of a process that is known to have exited, so that it is reaped at once."""
        await self._leases.expire(incarnation)

    # The incarnation

    def _fence(self, incarnation: Incarnation) -> None:
        """Go on as another incarnation; the entries of this one are the reapers'."""
        if incarnation is not self._current:
            return
        self._current = Incarnation(new_incarnation(self._instance))
        logger.warning("%s was declared dead, going on as %s", incarnation.name, self._current.name)
        self.ends.forget(incarnation.name)
        self._renewal.begin_again()
        if not self._stopped:
            task = asyncio.create_task(self._after_fencing(incarnation))
            self._fencings.add(task)
            task.add_done_callback(self._fencings.discard)

    async def _after_fencing(self, incarnation: Incarnation) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._leases.surrender(incarnation.name, clean=False)
        try:
            await self._on_fenced()
        except Exception:
            logger.exception("closing the connections of %s failed", incarnation.name)

    def _lost(self, incarnation: Incarnation) -> None:
        """Redis lost the lease, so it may have lost anything; nobody was declared dead, so everything is to be said
        again."""
        incarnation.doubt_registry(self._clock() + 2 * self._leases.ttl)
        self._own.in_doubt.set()

    def _reaped(self, reaped: Reaped) -> None:
        self._on_reaped(reaped)
        for user in reaped.users_gone:
            self._signals.left(reaped.scope, user, reaped.incarnation)


async def _cancel(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
