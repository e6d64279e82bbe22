"""The process's vitals, which it measures itself: how late its event loop is, each Redis's clock, how many leases, how
many clients a second it can let in.

Two tasks for the whole process, a few wake-ups a second. When something keeps the event loop busy, the next wake-up is
late, by as much as every client of this process had to wait.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from flotilla.realtime.engine.clocks import RedisClocks
from flotilla.realtime.node.capacity import Capacity
from flotilla.store import Store, StoreUnavailable, reading, supervised
from flotilla.store.stats import Histogram

logger = logging.getLogger("flotilla.realtime.vitals")

WAKE_EVERY = 0.1  # seconds between wake-ups that measure lateness
ASK_EVERY = 1.0  # seconds between questions to each Redis
COUNT_EVERY = 5  # such questions from one count of the leases to the next


class Vitals:
    """Measures from `start` to `close`. `lag` in seconds; `leases` as last counted, None while unknown. `admitted`: how
    many clients were let in so far."""

    def __init__(
        self,
        store: Store,
        clocks: RedisClocks,
        count_leases: Callable[[], Awaitable[int]],
        admitted: Callable[[], int] = int,
    ) -> None:
        self.lag = Histogram()
        self.capacity = Capacity()
        self._admitted = admitted
        self.leases: int | None = None
        self._store = store
        self._clocks = clocks
        self._count_leases = count_leases
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [supervised("vitals-loop", self._wake), supervised("vitals-redis", self._ask)]

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wake(self) -> None:
        while True:
            due = time.monotonic() + WAKE_EVERY
            await asyncio.sleep(WAKE_EVERY)
            self.lag.observe(max(0.0, time.monotonic() - due))

    async def _ask(self) -> None:
        turn = 0
        while True:
            await asyncio.gather(*(self._ask_time(shard.index) for shard in self._store.shards))
            if turn % COUNT_EVERY == 0:
                await self._count()
            self.capacity.look(time.monotonic(), time.process_time(), self._admitted())
            turn += 1
            await asyncio.sleep(ASK_EVERY)

    async def _ask_time(self, shard: int) -> None:
        asked = time.monotonic()
        try:
            answer = await self._store.shards[shard].execute("TIME")
            with reading("TIME"):
                seconds, micros = map(int, answer)
        except StoreUnavailable:
            self._clocks.forget(shard)  # what answers next may be another machine
            return
        self._clocks.note(shard, asked, seconds + micros * 1e-6, time.monotonic())

    async def _count(self) -> None:
        try:
            self.leases = await self._count_leases()
        except StoreUnavailable:
            self.leases = None
