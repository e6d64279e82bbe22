"""Calls of a link that Redis has executed nothing of, and that are made again when they can be: in order, for a while.

A call is held because its partition is in doubt (DOUBT; `partitions`), or, in a cluster, because its slot is on its way
to another node (ASK, TRYAGAIN) or is nobody's just now (CLUSTERDOWN). Calls that need their partition and come later
wait behind it.
"""

import asyncio
import contextlib
from collections import deque
from typing import Any, Protocol

from flotilla.store.errors import StoreRefused, StoreUnavailable
from flotilla.store.partitions import ARRIVE, Partitions
from flotilla.store.resp import Command
from flotilla.store.scripts import Script
from flotilla.store.stats import RedisStats
from flotilla.store.supervised import ended, supervised
from flotilla.store.waiting import Call, Waiting, fail, in_full

HELD_WITHIN = 3.5  # seconds a call is held: more than instances have to compare, less than a command may take
ASKED_EVERY = 0.1  # seconds between questions whether a doubt is over, or a slot is there
TRIED_FIRST = 16  # of the calls that are held for a slot
TOLD_WITHIN = 1.0  # seconds after which what was answered for a slot may be true no longer


class Sender(Protocol):
    """The link whose calls these are."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""

    def put(self, call: Call) -> None:
        """Send a call with the next write."""

    def call(self, command: Command, script: Script | None = None) -> "asyncio.Future[Any]":
        """The future reply to a command."""


class HeldCalls:
    """`first`: what was answered so, in the order of sending; `behind`: what must not overtake it. Where both are empty
    nothing is held. `timed` are the timers of calls that were held, by who waits."""

    def __init__(self, link: Sender, stats: RedisStats, partitions: Partitions | None) -> None:
        self.first: deque[Call] = deque()
        self.behind: deque[Call] = deque()
        self.timed: dict[Waiting, asyncio.TimerHandle] = {}
        self._link = link
        self._stats = stats
        self._partitions = partitions
        self._loop = asyncio.get_running_loop()
        self._on_its_way: StoreRefused | None = None  # what was answered for a slot that is
        self._told: tuple[float, StoreRefused] | None = None  # the same, and when: kept when the calls are gone
        self._task: asyncio.Task[None] | None = None
        nobody: asyncio.Future[None] = self._loop.create_future()
        nobody.set_result(None)
        self._barrier: Call = (b"", nobody, None)

    def hold(self, call: Call) -> None:
        """Keep a call that was answered so."""
        self._keep(call, self.first)

    def hold_for_slot(self, call: Call, error: StoreRefused) -> None:
        """Keep a call whose slot is not there."""
        self._on_its_way = error
        self._told = self._loop.time(), error
        self._keep(call, self.first)

    @property
    def for_slot(self) -> StoreRefused | None:
        """What calls were answered a moment ago whose slot is not there."""
        at, error = self._told or (0.0, None)
        return error if self._loop.time() < at + TOLD_WITHIN else None

    def follow(self, call: Call) -> None:
        """Keep a call that was not sent, behind those that are held."""
        self._keep(call, self.behind)

    def limit(self, call: Call, why: StoreRefused | None) -> None:
        """Have a call fail, with this error, if it is not answered in time."""
        if call[1] not in self.timed:
            self.timed[call[1]] = self._loop.call_later(HELD_WITHIN, self._overdue, call[1], why)

    async def close(self) -> list[Call]:
        """Hold nothing any more; gives what was held."""
        if self._task is not None:
            await ended(self._task)
        return self._all_taken()

    def _keep(self, call: Call, queue: deque[Call]) -> None:
        self.limit(call, self._on_its_way)
        queue.append(call)
        if self._task is None or self._task.done():
            self._task = supervised("link-compare", self._keep_asking)

    def _overdue(self, waiting: Waiting, why: StoreRefused | None) -> None:
        del self.timed[waiting]
        if why is not None and not waiting.done():
            self._stats.refuse(why)
        fail(waiting, why.again() if why is not None else StoreUnavailable("this run of Redis is not trusted yet"))

    def _all_taken(self) -> list[Call]:
        taken = [call for call in (*self.first, *self.behind) if not call[1].done()]
        self.first.clear()
        self.behind.clear()
        return taken

    async def _keep_asking(self) -> None:
        """Ask again until nothing stands in the way, then send what was held, in the order in which it came."""
        while self._forget_done():
            if self._on_its_way is not None:
                await self._try_some()
            elif self._partitions is not None:
                await self._compare(self._partitions)
            if self._forget_done():
                await asyncio.sleep(ASKED_EVERY)

    def _forget_done(self) -> bool:
        """Drop the calls whose time is up or whose caller is gone; whether any is left."""
        for queue in (self.first, self.behind):
            while queue and queue[0][1].done():
                queue.popleft()
        return bool(self.first or self.behind)

    async def _compare(self, partitions: Partitions) -> None:
        if not self._link.connected:  # a new connection compares by itself, maybe with yet another run
            with contextlib.suppress(StoreUnavailable):
                await self._link.call(("PING",))
            return
        # a partition that is gone altogether (Redis was emptied) is made again by the same question
        numbers = sorted(partitions.doubted) or list(range(len(partitions.all)))
        run = partitions.run
        try:
            questions = partitions.questions(run, numbers)
            answers = await asyncio.gather(*(self._link.call(one, ARRIVE) for one in questions))
        except StoreUnavailable:
            return
        if partitions.run == run:
            partitions.answered(run, numbers, answers)
        if not partitions.doubted:
            for call in self._all_taken():
                self._link.put(call if call[2] is None else in_full(call))

    async def _try_some(self) -> None:
        """Make the first calls again that are held for a slot; if none is answered as before, all of them. Meanwhile
        what comes later waits behind them."""
        self._on_its_way = None
        waiting = self._all_taken()
        self.behind.extend([*waiting[TRIED_FIRST:], self._barrier])
        for call in waiting[:TRIED_FIRST]:
            self._link.put(call)
        with contextlib.suppress(StoreUnavailable):
            await self._link.call(("PING",))
        if self._on_its_way is None and not self.first:
            for call in self._all_taken():
                self._link.put(call)
