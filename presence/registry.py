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
from functools import partial
from typing import Any, TypeVar

from flotilla.presence.diff import Continuity, chunks
from flotilla.presence.ends import End, Ends
from flotilla.presence.entries import MAX_PER_CALL, Announcement, Entries, Full, Holder, Leaving, Named, Removed
from flotilla.presence.incarnation import Life, Record
from flotilla.presence.keys import USER, home_of
from flotilla.presence.lane import Lane
from flotilla.presence.lease_renewal import Keeper, retry_after, wait
from flotilla.presence.leases import Fenced, LeaseMissing, Leases, new_incarnation
from flotilla.presence.reaper import Reaped, Reaper
from flotilla.presence.repair import SLICE, Duties, Upkeep
from flotilla.presence.signals import tell, user_joined
from flotilla.presence.turns import Turn, Turns
from flotilla.store import Store, StoreUnavailable, supervised

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

KEY_TTL = 3600.0  # seconds that keys and tombstones live without being refreshed
REFRESH_EVERY = 1200.0
LATE = 1.5  # intervals after which an instance that has not renewed its lease is not counted among the living
LAST_CALLS_WITHIN = 1.0  # seconds for receivers that are being called then
STOP_WITHIN = 2.0  # seconds receivers have at a stop; what they have not come to, other instances tell


async def untold(end: End) -> None:
    """Of a connection's end nobody wants to hear."""


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
        on_end: Callable[[End], Awaitable[None]] = untold,
        lost_note: Callable[[], bytes] = bytes,
        lease_ttl: float = 6.0,
        renew_every: float = 2.0,
        reap_every: float = 1.0,
        refresh_every: float = REFRESH_EVERY,
        key_ttl: float = KEY_TTL,
        clock: Callable[[], float] = time.monotonic,
        lane: Lane | None = None,
    ) -> None:
        """Times in seconds. `announce`: how a scope's joins and leaves are told (None: not at all). `describe`: what
        the lease says of this process. `on_fenced` runs once per lost incarnation and shall close its connections.
        `on_end` tells the end of a connection that was removed from its user's scope with a note, or whose instance
        died: it then has `lost_note` (b"": nobody wants to hear of it)."""
        self._instance = instance
        self._on_fenced = on_fenced
        self._on_reaped = on_reaped
        self._clock = clock
        self._life = Life(new_incarnation(instance))
        self._leases = Leases(store, ttl=lease_ttl, key_ttl=key_ttl)
        self._entries = Entries(store, announce, key_ttl)
        self._continuity = Continuity(lease_ttl, renew_every)
        self._upkeep_due = asyncio.Event()
        self._shards = store.shards
        self._turns = Turns()
        self.lane = lane or Lane()
        self.ends = Ends(store, self.lane, on_end, key_ttl)
        self._reaper = Reaper(
            self._leases, self._entries, self.ends, self._continuity,
            tell=self._reaped, note=lost_note, claim=2 * reap_every, clock=clock,
        )  # fmt: skip
        self._keeper = Keeper(
            self._leases, self._reaper, self._continuity, life=lambda: self._life, describe=describe,
            on_tombstone=self._fence, on_lost=self._lost, reap_every=reap_every, clock=clock,
        )  # fmt: skip
        self._upkeep = Upkeep(
            store, self._leases, self._entries, self._continuity,
            Duties(lambda: self._life, self._register, self._fence, self._drop),
            probe_every=renew_every, refresh_every=refresh_every, idle_for=5 * renew_every, clock=clock,
        )  # fmt: skip
        self._tasks: list[asyncio.Task[None]] = []
        self._removals: set[asyncio.Task[bool]] = set()
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
        def own() -> str:
            return self._life.incarnation

        self._tasks = [
            supervised("presence-lease", self._keeper.run),
            supervised("presence-upkeep", self._keep_up),
            *(supervised("presence-reaping", partial(self._reaper.run, shard, own)) for shard in self._shards),
            supervised("presence-ends", self.ends.run),
            supervised("presence-lane", self.lane.run),
        ]

    async def stop(self, within: float = STOP_WITHIN) -> None:
        """Remove what is left of our entries, announce it, and give the lease back. Where Redis is away the lease
        runs out, and others do it. Receivers of signals have `within` seconds; what they have not come to by then,
        others tell."""
        self._stopped = True
        give_up = self._clock() + within
        await self.removed(within)
        told = [task for task in self._tasks if task.get_name() in ("presence-ends", "presence-lane")]
        await _end(*(task for task in self._tasks if task not in told), *self._removals, *self._fencings)
        clean = await self._clear(self._life) and not self._life.recall
        if told:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + max(0.0, give_up - self._clock())):
                    await self.lane.empty()
            self.lane.halt()
            await asyncio.wait(told[-1:], timeout=LAST_CALLS_WITHIN)
        await _end(*told)
        self.lane.close()
        with contextlib.suppress(StoreUnavailable):
            await self.ends.cross_off()
            await self._leases.surrender(self._life.incarnation, clean=clean and self.ends.clear)

    async def add(self, scope: str, client: str, user: str, info: bytes, most: int = 0) -> bool:
        """Enter a connection, after everything that was asked about it earlier; a repeat announces nothing. True when
        it is the user's first in the scope.

        Raises Fenced (this incarnation is dead), Full (`most` are there), StoreUnavailable (nothing will remain of it:
        the caller may try again), or ValueError for a name that is no scope or no Unicode.
        """
        home_of(scope), client.encode(), user.encode()  # what cannot be written must not come into the books
        turn = self._turns.take((scope, client))
        try:
            await turn.come()
            if user_joined.has_listeners(Presence):
                await self.lane.room()
            return await self._add(scope, Named(client, user, info), most)
        finally:
            turn.over()

    async def _add(self, scope: str, entry: Named, most: int) -> bool:
        self._refuse_when_unsure()
        life, key = self._life, (scope, entry.client)
        record = life.open(scope, self._upkeep.next_refresh())
        life.entering.add(key)
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
            life.entering.discard(key)
            record.calls -= 1
            life.settle(scope, self._clock())
        if life is not self._life:
            raise Fenced
        record.entries[entry.client] = entry
        if first:
            tell(self.lane, "user_joined", Presence, scope=scope, user=entry.user, incarnation=life.incarnation)
        return first

    def remove(self, scope: str, client: str, note: bytes = b"") -> "asyncio.Future[bool]":
        """Remove a connection, after everything that was asked about it earlier and before all that is asked later.

        Never fails and is never lost: when Redis is away it is done later. The result may be waited for: True when it
        was the user's last in the scope. A client that is not there is nothing to remove. With a `note`, which only a
        user's scope takes, the connection's end is told (`on_end`) by whoever removes it: here, or its reapers.
        """
        turn = self._turns.take((scope, client))  # now: the task begins later
        leaving = Leaving(client, scope.removeprefix(USER), note)
        record = self._life.records.get(scope)
        if note and record is not None:
            record.ends.setdefault(client, leaving)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._remove_in_turn(turn, scope, leaving), name="presence-removal")
        self._removals.add(task)
        task.add_done_callback(partial(self._removed, turn, done))
        return done  # not the task: who gives up waiting does not give up the removal

    def _removed(self, turn: Turn, done: "asyncio.Future[bool]", task: "asyncio.Task[bool]") -> None:
        self._removals.discard(task)
        turn.over()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a removal from presence failed", exc_info=error)
        if not done.done():
            done.set_result(not task.cancelled() and error is None and task.result())

    async def _remove_in_turn(self, turn: Turn, scope: str, leaving: Leaving) -> bool:
        await turn.come()
        return await self._remove(scope, leaving)

    async def _remove(self, scope: str, leaving: Leaving) -> bool:
        life = self._life
        record = life.records.get(scope)
        if record is None:
            return False
        if record.entries.pop(leaving.client, None) is None:
            if record.ends.get(leaving.client) is leaving:  # it never came in: there is no end to be told
                del record.ends[leaving.client]
            return False
        record.calls += 1
        try:
            removed = await self._drop(life, scope, record, [leaving])
        except Fenced:
            self._fence(life)
            return False
        except StoreUnavailable:
            self._doubt(life, scope)
            return False
        except BaseException:
            self._doubt(life, scope)
            raise
        finally:
            record.calls -= 1
            life.settle(scope, self._clock())
        return any(entry.last for entry in removed)

    async def _drop(self, life: Life, scope: str, record: Record, leaving: list[Leaving]) -> list[Removed]:
        """Take connections out of Redis; what follows from that is under way when this returns."""
        removed = await self._entries.drop(life.incarnation, life.generation, scope, leaving)
        for one in leaving:
            record.ends.pop(one.client, None)
        district = home_of(scope).district
        if district is not None:
            self.ends.queued(life.incarnation, district, leaving)
        self._tell_left(life.incarnation, scope, removed)
        return removed

    async def removed(self, within: float) -> None:
        """Return when every removal that was asked for is over, or after `within` seconds."""
        if self._removals:
            await asyncio.wait(self._removals, timeout=within)

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
        """The incarnations that hold a lease now and renew it in time. Raises StoreUnavailable."""
        return await self._leases.living(LATE * self._continuity.every)

    async def leases(self) -> int:
        """How many processes of the cluster hold a lease. Raises StoreUnavailable."""
        return await self._leases.count()

    @property
    def busy(self) -> bool:
        """Whether anything that was asked of this process is still under way, signals included."""
        life = self._life
        calls = any(record.calls or record.ends for record in life.records.values())
        return bool(self._turns or self._removals or life.doubted or calls or self.lane.busy or not self.ends.clear)

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
        self.ends.forget(life.incarnation)
        self._keeper.begin_anew()
        if not self._stopped:
            task = asyncio.create_task(self._after_fencing(life))
            self._fencings.add(task)
            task.add_done_callback(self._fencings.discard)

    async def _after_fencing(self, life: Life) -> None:
        with contextlib.suppress(StoreUnavailable):
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
            except StoreUnavailable:
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
        for clients in chunks(list(record.entries), MAX_PER_CALL):
            try:
                leaving = [record.ends.get(client) or Leaving(client) for client in clients]
                await self._drop(life, scope, record, leaving)
            except Fenced:
                return
            except StoreUnavailable:
                life.doubt(scope)
                return
            for client in clients:
                record.entries.pop(client, None)

    def _tell_left(self, incarnation: str, scope: str, removed: Iterable[Removed]) -> None:
        for entry in removed:
            if entry.last:
                tell(self.lane, "user_left", Presence, scope=scope, user=entry.user, incarnation=incarnation)

    def _reaped(self, reaped: Reaped) -> None:
        self._on_reaped(reaped)
        for user in reaped.users_gone:
            tell(self.lane, "user_left", Presence, scope=reaped.scope, user=user, incarnation=reaped.incarnation)


async def _end(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
