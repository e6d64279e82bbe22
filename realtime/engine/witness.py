"""What this process knows of every partition, kept fresh, and which instances may know more
(`flotilla.store.partitions`).

When Redis comes back as another run, the instances compare what each of them knows. The comparison is only right if no
instance that knew more is missing; so every second each one asks how far the partitions are and who holds a lease. The
last instance that ends in order leaves a mark that says so.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from flotilla.store import Shard, Store, StoreUnavailable, supervised
from flotilla.store.partitions import Partitions, Witness

logger = logging.getLogger("flotilla.realtime.witness")

EVERY = 1.0  # seconds between two looks
AGAIN_AFTER = 0.2  # seconds until the next one where a Redis did not answer: others wait for what is known here


class Watch:
    """An instance's watch over the partitions, from `start` to `close`."""

    def __init__(self, store: Store, own: Callable[[], str], living: Callable[[], Awaitable[Collection[str]]]) -> None:
        """`own` gives this instance's name among those of `living`, the incarnations that hold a lease."""
        self._store = store
        self._own = own
        self._living = living
        # For each Redis, who may have heard what is not known here: the instances alive at the last look, or since.
        self._expected: list[set[str]] = [set() for _ in store.shards]
        self._away: set[int] = set()  # the Redises that did not answer the last look
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; from now on this process has a vote."""
        for shard in self._store.shards:
            if shard.partitions is not None:
                shard.partitions.witness = partial(self.witness, shard.index)
        self._task = supervised("witness", self._watch)

    async def close(self) -> None:
        """Stop, and have no vote any more: what this process still says must not remove the mark that the last one
        leaves."""
        for shard in self._store.shards:
            if shard.partitions is not None:
                shard.partitions.witness = Witness
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def leave(self) -> None:
        """Call it when this instance's lease is given back: the last one marks that the cluster ended in order."""
        try:
            if not await self._living():
                await asyncio.gather(*(_mark(shard) for shard in self._store.shards))
        except StoreUnavailable as error:
            logger.warning("it could not be marked that the cluster ended in order: %s", error)

    def witness(self, shard: int) -> Witness:
        """This instance, and those that may have heard what it did not."""
        return Witness(self._own(), list(self._expected[shard]))

    async def _watch(self) -> None:
        while True:
            living = await self._who_lives()
            well = await asyncio.gather(*(self._look(shard, living) for shard in self._store.shards))
            await asyncio.sleep(EVERY if living is not None and all(well) else AGAIN_AFTER)

    async def _who_lives(self) -> set[str] | None:
        try:
            return set(await self._living())
        except StoreUnavailable:
            return None

    async def _look(self, shard: Shard, living: set[str] | None) -> bool:
        """Ask a Redis how far its partitions are; False where it does not say.

        An instance that was gone before the look has heard nothing that is not known after it. A Redis that did not
        answer last time is asked first whether it is back, for its new connection compares.
        """
        partitions, expected = shard.partitions, self._expected[shard.index]
        if partitions is None:
            return True
        expected |= living or set()
        try:
            if shard.index in self._away:
                await shard.call("PING")
                self._away.discard(shard.index)
            run = partitions.run
            foreign = partitions.looked(await asyncio.gather(*(shard.call(*look) for look in partitions.looks())))
            if foreign and partitions.run == run:
                await _compare(shard, partitions, foreign)
        except StoreUnavailable:
            self._away.add(shard.index)
            return False
        if living is not None and not partitions.doubted:
            self._expected[shard.index] = living
        return True


async def _compare(shard: Shard, partitions: Partitions, numbers: list[int]) -> None:
    """Compare some partitions again. A replica refuses that, and is left."""
    run = partitions.run
    answers = await asyncio.gather(*(shard.call(*one) for one in partitions.questions(run, numbers)))
    if partitions.run == run:
        partitions.answered(run, numbers, answers)


async def _mark(shard: Shard) -> None:
    if shard.partitions is not None:
        await asyncio.gather(*(shard.call(*mark) for mark in shard.partitions.marks()))
