"""Presence: the interface, and what happens to a life and its entries.

Invariant: presence converges to the truth within 10 s of any crash and within 1 s of any close, with one join and one
leave per connection. A process vouches for its connections by one lease; it may be declared dead only by others that
were well themselves (`reaper`), and once declared dead it can write nothing under that name: it takes a new one and
its connections are closed. What happens to those connections is left to the callbacks.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from presence.diff import Continuity, chunks
from presence.entries import MOST_PER_CALL, Announcement, Entries, Full, Holder, Named, Removed
from presence.keeper import Keeper, retry_after, wait
from presence.keys import home_of
from presence.leases import Fenced, LeaseMissing, Leases, new_incarnation
from presence.life import Life, Record
from presence.reaper import Reaped, Reaper
from presence.signals import tell, user_joined, user_left
from presence.upkeep import FAILURES, SLICE, Duties, Upkeep
from store import Store, StoreUnavailable, supervised

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

KEY_TTL = 3600.0  # seconds that keys and tombstones live without being refreshed
REFRESH_EVERY = 1200.0


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
        on_reaped: Callable[[Reaped], Awaitable[None]],
        lease_ttl: float = 6.0,
        renew_every: float = 2.0,
        reap_every: float = 1.0,
        refresh_every: float = REFRESH_EVERY,
        key_ttl: float = KEY_TTL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Times in seconds. `announce`: how a scope's joins and leaves are told (None: not at all). `describe`: what
        the lease says of this process. `on_fenced` runs once per lost incarnation and shall close its connections."""
        self._instance = instance
        self._on_fenced = on_fenced
        self._on_reaped = on_reaped
        self._clock = clock
        self._life = Life(new_incarnation(instance))
        self._leases = Leases(store, ttl=lease_ttl, key_ttl=key_ttl)
        self._entries = Entries(store, announce, key_ttl)
        self._continuity = Continuity(lease_ttl, renew_every)
        self._upkeep_due = asyncio.Event()
        self._reaper = Reaper(
            self._leases, self._entries, self._continuity, tell=self._reaped, claim=2 * reap_every, clock=clock
        )
        self._keeper = Keeper(
            self._leases, self._reaper, self._continuity, life=lambda: self._life, describe=describe,
            on_tombstone=self._fence, on_lost=self._lost, on_buried=self._upkeep_due.set,
            reap_every=reap_every, clock=clock,
        )  # fmt: skip
        self._upkeep = Upkeep(
            store, self._leases, self._entries, self._continuity,
            Duties(lambda: self._life, self._register, self._fence, self._tell_left),
            probe_every=renew_every, refresh_every=refresh_every, idle_for=5 * renew_every, clock=clock,
        )  # fmt: skip
        self._tasks: list[asyncio.Task[None]] = []
        self._fencings: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def incarnation(self) -> str:
        """The name under which this process's entries stand; another after it was fenced."""
        return self._life.incarnation

    @property
    def alive(self) -> bool:
        """Whether the lease is held, as far as this process can know."""
        return not self._stopped and self._keeper.held

    async def start(self) -> None:
        """Take the lease and begin to keep it. Where Redis is away this is tried on; adds fail until it is held."""
        await self._keeper.renew()
        self._begin()

    def _begin(self) -> None:
        self._tasks = [
            supervised("presence-lease", self._keeper.run),
            supervised("presence-upkeep", self._keep_up),
        ]

    async def stop(self) -> None:
        """Remove what is left of our entries, announce it, and give the lease back. Where Redis is away the lease
        runs out, and others do it."""
        self._stopped = True
        for task in (*self._tasks, *self._fencings):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._fencings, return_exceptions=True)
        clean = await self._clear(self._life) and not self._life.recall
        with contextlib.suppress(*FAILURES):
            await self._leases.surrender(self._life.incarnation, clean=clean)

    async def add(self, scope: str, client: str, user: str, info: bytes, most: int = 0) -> bool:
        """Enter a connection; a repeat announces nothing. True when it is the user's first in the scope.

        Raises Fenced (this incarnation is dead), Full (`most` are there), StoreUnavailable (nothing will remain of it:
        the caller may try again), or ValueError for a name that is no scope or no Unicode.
        """
        life, key = self._life, (scope, client)
        home_of(scope), client.encode(), user.encode()  # what cannot be written must not come into the books
        self._refuse_when_unsure()
        record = life.open(scope, self._upkeep.next_refresh())
        entry = Named(client, user, info)
        life.entering[key] = True
        record.calls += 1
        try:
            first = await self._enter(life, scope, record, entry, most)
        except Full:
            raise
        except Fenced:
            self._fence(life)
            raise
        except BaseException:
            self._doubt(life, scope)
            raise
        finally:
            wanted = life.entering.pop(key, True)
            record.calls -= 1
            life.settle(scope, self._clock())
        if life is not self._life:
            raise Fenced
        record.entries[client] = entry
        if first:
            await tell(user_joined, Presence, scope=scope, user=user, incarnation=life.incarnation)
        if not wanted:
            await self.remove(scope, client)
        return first and wanted

    async def remove(self, scope: str, client: str) -> bool:
        """Remove a connection; never fails and is never lost: when Redis is away it is done later.

        True when it was the user's last in the scope. A client that is not there is nothing to remove.
        """
        life = self._life
        if (scope, client) in life.entering:
            life.entering[scope, client] = False  # the add that is under way removes it
            return False
        record = life.records.get(scope)
        if record is None or record.entries.pop(client, None) is None:
            return False
        record.calls += 1
        try:
            removed = await self._entries.drop(life.incarnation, life.generation, scope, (client,))
        except Fenced:
            self._fence(life)
            return False
        except FAILURES:
            self._doubt(life, scope)
            return False
        except BaseException:
            self._doubt(life, scope)
            raise
        finally:
            record.calls -= 1
            life.settle(scope, self._clock())
        await self._tell_left(life.incarnation, scope, removed)
        return any(entry.last for entry in removed)

    async def members(self, scope: str) -> dict[str, bytes]:
        """Everyone in a scope: client → info. Raises StoreUnavailable."""
        return await self._entries.members(scope)

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
        await self._keeper.renew()

    async def living(self) -> list[str]:
        """The incarnations that hold a lease now. Raises StoreUnavailable."""
        return await self._leases.living()

    async def leases(self) -> int:
        """How many processes of the cluster hold a lease. Raises StoreUnavailable."""
        return await self._leases.count()

    def entered(self) -> tuple[int, int]:
        """How many entries this process vouches for: of users (`u:`) and of all other scopes. Any thread may ask."""
        records = list(self._life.records.items())
        sizes = [(scope.startswith("u:"), len(record.entries)) for scope, record in records]
        users = sum(size for of_user, size in sizes if of_user)
        return users, sum(size for _, size in sizes) - users

    async def expire(self, incarnation: str) -> None:
        """End the lease of a process that is known to have exited, so that it is reaped at once."""
        await self._leases.expire(incarnation)

    # The lease

    def _fence(self, life: Life) -> None:
        """Begin a new life; the entries of the old one are the reapers'."""
        if life is not self._life:
            return
        self._life = Life(new_incarnation(self._instance))
        logger.warning("%s was declared dead, going on as %s", life.incarnation, self._life.incarnation)
        self._keeper.begin_anew()
        if not self._stopped:
            task = asyncio.create_task(self._after_fencing(life))
            self._fencings.add(task)
            task.add_done_callback(self._fencings.discard)

    async def _after_fencing(self, life: Life) -> None:
        with contextlib.suppress(*FAILURES):
            await self._leases.surrender(life.incarnation, clean=False)
        try:
            await self._on_fenced()
        except Exception:
            logger.exception("closing the connections of %s failed", life.incarnation)

    def _lost(self, life: Life) -> None:
        """Redis lost the lease, so it may have lost anything; nobody was buried, so everything is to be said again."""
        life.doubt_registry(self._clock() + 2 * self._leases.ttl)
        self._upkeep_due.set()

    # Entries

    def _refuse_when_unsure(self) -> None:
        """After a silence near the life of a tombstone, the fences may be gone: renew before anything is written."""
        if self._stopped:
            raise StoreUnavailable("presence is stopped")
        if self._keeper.silent_for > self._leases.key_ttl / 2:
            self._keeper.renew_soon()
            raise StoreUnavailable("the lease was not renewed for long")

    async def _enter(self, life: Life, scope: str, record: Record, entry: Named, most: int) -> bool:
        """Write an entry; the scope is noted before, or in the same step where both are on one Redis."""

        async def add(register: bool) -> bool:
            return await self._entries.add(life.incarnation, life.generation, scope, entry, most, register=register)

        if record.registered:
            return await add(register=False)
        if self._leases.live_on(self._entries.shard(scope)):
            return await self._registering(life, record, lambda: add(register=True))
        await self._register(life, scope, record)
        return await add(register=False)

    async def _register(self, life: Life, scope: str, record: Record) -> None:
        await self._registering(
            life, record, lambda: self._leases.register(life.incarnation, life.generation, (scope,))
        )

    async def _registering(self, life: Life, record: Record, call: Callable[[], Awaitable[Result]]) -> Result:
        """Make a call that notes the record's scope."""
        doubts, answered = life.registry_doubts, life.beat.answered
        try:
            result = await call()
        except LeaseMissing:  # Redis restarted a moment ago: the lease first
            await self._keeper.renew(unless_after=answered)
            doubts = life.registry_doubts
            result = await call()
        record.registered = doubts == life.registry_doubts
        return result

    def _doubt(self, life: Life, scope: str) -> None:
        life.doubt(scope)
        self._upkeep_due.set()

    async def _keep_up(self) -> None:
        while True:
            self._upkeep_due.clear()
            more = False
            try:
                more = await self._upkeep.turn()
                more |= await self._reaper.work(self._life.incarnation)
            except FAILURES:
                pass  # what was not done is still to be done
            except Exception:
                logger.exception("upkeep of presence failed")
            if not more:
                await wait(self._upkeep_due, retry_after(self._continuity.every))

    async def _clear(self, life: Life) -> bool:
        """Remove all own entries, in bounded pipelines. False when that did not succeed."""
        while life.doubted:
            before = len(life.doubted)
            await self._upkeep.mend_some(life)
            if len(life.doubted) >= before:
                break
        for scopes in chunks(list(life.records), SLICE):
            await asyncio.gather(*(self._clear_scope(life, scope) for scope in scopes))
            if life.doubted:
                return False
        return not life.doubted

    async def _clear_scope(self, life: Life, scope: str) -> None:
        record = life.records[scope]
        for clients in chunks(list(record.entries), MOST_PER_CALL):
            try:
                removed = await self._entries.drop(life.incarnation, life.generation, scope, clients)
            except Fenced:
                return
            except FAILURES:
                life.doubt(scope)
                return
            for client in clients:
                record.entries.pop(client, None)
            await self._tell_left(life.incarnation, scope, removed)

    async def _tell_left(self, incarnation: str, scope: str, removed: Iterable[Removed]) -> None:
        for entry in removed:
            if entry.last:
                await tell(user_left, Presence, scope=scope, user=entry.user, incarnation=incarnation)

    async def _reaped(self, reaped: Reaped) -> None:
        try:
            await self._on_reaped(reaped)
        except Exception:
            logger.exception("the reaping of %s in %r could not be told", reaped.incarnation, reaped.scope)
        for user in reaped.users_gone:
            await tell(user_left, Presence, scope=reaped.scope, user=user, incarnation=reaped.incarnation)
