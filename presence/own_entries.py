"""The entries of this process's own connections: put into Redis and taken out, in the order that was asked for.

What is known of them is kept in the current incarnation. A call whose outcome is unknown leaves its scope in doubt,
which `repair` ends; so a removal is never lost, and an entry of which the caller was told that it failed goes away.
When a call finds this incarnation declared dead, `fenced` is told, and the entries are the reapers'.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TypeVar

from flotilla.presence.connection_ends import ConnectionEnds
from flotilla.presence.decisions import chunks
from flotilla.presence.entries import MAX_PER_CALL, Entries, Full, Leaving, Named, Removed
from flotilla.presence.incarnation import Incarnation, Record
from flotilla.presence.keys import home_of
from flotilla.presence.lease_renewal import LeaseRenewal
from flotilla.presence.leases import Fenced, LeaseMissing, Leases
from flotilla.presence.operation_order import OperationOrder, Turn
from flotilla.presence.scopes import Scope
from flotilla.presence.signals import UserSignals
from flotilla.store import StoreUnavailable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

MAX_SCOPES = 128  # cleared at a time


class OwnEntries:
    """Enters and removes connections. `add` may fail, and says so; `remove` never does."""

    def __init__(
        self,
        entries: Entries,
        leases: Leases,
        ends: ConnectionEnds,
        renewal: LeaseRenewal,
        signals: UserSignals,
        *,
        current: Callable[[], Incarnation],
        fenced: Callable[[Incarnation], None],
        refresh_every: float,
        clock: Callable[[], float],
    ) -> None:
        """`current`: the incarnation the process is now. `fenced`: one was found to be declared dead. `refresh_every`:
        seconds after which a scope's keys are to be refreshed."""
        self.current = current
        self.fenced = fenced
        self.in_doubt = asyncio.Event()
        self._entries = entries
        self._leases = leases
        self._ends = ends
        self._renewal = renewal
        self._signals = signals
        self._refresh_every = refresh_every
        self._clock = clock
        self._order = OperationOrder()
        self._removals: set[asyncio.Task[bool]] = set()
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether anything that was asked for is still under way or in doubt."""
        incarnation = self.current()
        calls = any(record.calls or record.ends for record in incarnation.records.values())
        return bool(self._order or self._removals or incarnation.doubted or calls)

    def next_refresh(self) -> float:
        """When a scope that is opened now is to be refreshed: spread, so that scopes opened together part."""
        return self._clock() + self._refresh_every * random.uniform(0.5, 1)

    # Adding

    async def add(self, scope: str, entry: Named, most: int) -> bool:
        """As `Presence.add`."""
        home_of(scope), entry.client.encode(), entry.user.encode()  # what cannot be written must not be kept here
        turn = self._order.take((scope, entry.client))
        try:
            await turn.begin()
            await self._signals.room()
            return await self._add(scope, entry, most)
        finally:
            turn.end()

    async def _add(self, scope: str, entry: Named, most: int) -> bool:
        self._refuse_when_unsure()
        incarnation, key = self.current(), (scope, entry.client)
        record = incarnation.open(scope, self.next_refresh())
        incarnation.entering.add(key)
        record.calls += 1
        try:
            first = await self._enter(incarnation, scope, record, entry, most)
        except Full:
            raise
        except Fenced:
            self.fenced(incarnation)
            raise
        except BaseException:
            self._doubt(incarnation, scope)
            raise
        finally:
            incarnation.entering.discard(key)
            record.calls -= 1
            incarnation.settle(scope, self._clock())
        if incarnation is not self.current():
            raise Fenced
        record.entries[entry.client] = entry
        if first:
            self._signals.joined(scope, entry.user, incarnation.name)
        return first

    def _refuse_when_unsure(self) -> None:
        """After a silence near the life of a tombstone, the fences may be gone: renew before anything is written."""
        if self._closed:
            raise StoreUnavailable("presence is stopped")
        if self._renewal.silent_for > self._leases.key_ttl / 2:
            self._renewal.renew_soon()
            raise StoreUnavailable("the lease was not renewed for long")

    async def _enter(self, incarnation: Incarnation, scope: str, record: Record, entry: Named, most: int) -> bool:
        """Write an entry; the scope is noted before, or in the same step where both are on one Redis."""
        name = incarnation.name

        async def add(register: bool) -> bool:
            return await self._entries.add(name, incarnation.generation, scope, entry, most, register=register)

        if record.registered:
            return await add(register=False)
        if self._leases.live_on(self._entries.shard(scope)):
            return await self._registering(incarnation, record, lambda: add(register=True))
        await self.register(incarnation, scope, record)
        return await add(register=False)

    async def register(self, incarnation: Incarnation, scope: str, record: Record) -> None:
        """Note the scope for those who would reap this incarnation. Raises Fenced or StoreUnavailable."""
        name = incarnation.name
        await self._registering(
            incarnation, record, lambda: self._leases.register(name, incarnation.generation, (scope,))
        )

    async def _registering(
        self, incarnation: Incarnation, record: Record, call: Callable[[], Awaitable[Result]]
    ) -> Result:
        """Make a call that notes the record's scope."""
        doubts, answered = incarnation.registry_doubts, incarnation.renewals.answered
        try:
            result = await call()
        except LeaseMissing:  # Redis restarted a moment ago: the lease first
            await self._renewal.renew(unless_after=answered)
            doubts = incarnation.registry_doubts
            result = await call()
        record.registered = doubts == incarnation.registry_doubts
        return result

    def _doubt(self, incarnation: Incarnation, scope: str) -> None:
        incarnation.doubt(scope)
        self.in_doubt.set()

    # Removing

    def remove(self, scope: str, client: str, note: bytes, cause: bytes) -> "asyncio.Future[bool]":
        """As `Presence.remove`."""
        turn = self._order.take((scope, client))  # now: the task begins later
        leaving = Leaving(client, Scope.user_of(scope) or "", note, cause)
        record = self.current().records.get(scope)
        if (note or cause) and record is not None:
            record.ends.setdefault(client, leaving)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._remove_in_turn(turn, scope, leaving), name="presence-removal")
        self._removals.add(task)
        task.add_done_callback(partial(self._removed, turn, done))
        return done  # not the task: a caller that stops waiting does not stop the removal

    def _removed(self, turn: Turn, done: "asyncio.Future[bool]", task: "asyncio.Task[bool]") -> None:
        self._removals.discard(task)
        turn.end()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a removal from presence failed", exc_info=error)
        if not done.done():
            done.set_result(not task.cancelled() and error is None and task.result())

    async def _remove_in_turn(self, turn: Turn, scope: str, leaving: Leaving) -> bool:
        await turn.begin()
        return await self._remove(scope, leaving)

    async def _remove(self, scope: str, leaving: Leaving) -> bool:
        incarnation = self.current()
        record = incarnation.records.get(scope)
        if record is None:
            return False
        if record.entries.pop(leaving.client, None) is None:
            if record.ends.get(leaving.client) is leaving:  # it never came in: there is no end to be told
                del record.ends[leaving.client]
            return False
        record.calls += 1
        try:
            removed = await self.drop(incarnation, scope, record, [leaving])
        except Fenced:
            self.fenced(incarnation)
            return False
        except StoreUnavailable:
            self._doubt(incarnation, scope)
            return False
        except BaseException:
            self._doubt(incarnation, scope)
            raise
        finally:
            record.calls -= 1
            incarnation.settle(scope, self._clock())
        return any(entry.last for entry in removed)

    async def drop(self, incarnation: Incarnation, scope: str, record: Record, leaving: list[Leaving]) -> list[Removed]:
        """Take connections out of Redis; what follows from that is under way when this returns. Raises Fenced or
        StoreUnavailable."""
        removed = await self._entries.drop(incarnation.name, incarnation.generation, scope, leaving)
        for one in leaving:
            record.ends.pop(one.client, None)
        district = home_of(scope).district
        if district is not None:
            self._ends.noted(incarnation.name, district, leaving)
        for entry in removed:
            if entry.last:
                self._signals.left(scope, entry.user, incarnation.name)
        return removed

    # The end

    async def removed(self, within: float) -> None:
        """Return when every removal that was asked for is over, or after `within` seconds."""
        if self._removals:
            await asyncio.wait(self._removals, timeout=within)

    @property
    def removals(self) -> "Collection[asyncio.Task[bool]]":
        """The removals that are under way."""
        return tuple(self._removals)

    def close(self) -> None:
        """Refuse what is added from now on."""
        self._closed = True

    async def clear(self, incarnation: Incarnation) -> bool:
        """Remove all entries, in bounded pipelines. False when that did not succeed."""
        for scopes in chunks(list(incarnation.records), MAX_SCOPES):
            await asyncio.gather(*(self._clear_scope(incarnation, scope) for scope in scopes))
            if incarnation.doubted:
                return False
        return not incarnation.doubted

    async def _clear_scope(self, incarnation: Incarnation, scope: str) -> None:
        record = incarnation.records[scope]
        for clients in chunks(list(record.entries), MAX_PER_CALL):
            try:
                leaving = [record.ends.get(client) or Leaving(client) for client in clients]
                await self.drop(incarnation, scope, record, leaving)
            except Fenced:
                return
            except StoreUnavailable:
                incarnation.doubt(scope)
                return
            for client in clients:
                record.entries.pop(client, None)
