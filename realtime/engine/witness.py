"""Keeps what this process knows of every partition fresh, and who else is there to know it (`store.partitions`).

When Redis comes back as another run, instances compare what each of them knows. That settles it only if nobody who knew
more is missing; so every second each instance asks how far the partitions are and who holds a lease. The last one that
ends in order leaves word of it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection

from store import Shard, Store, StoreUnavailable, supervised
from store.partitions import Partitions, Witness

logger = logging.getLogger("realtime.witness")

EVERY = 1.0  # seconds between looks
AGAIN_AFTER = 0.2  # seconds until the next one where a Redis did not answer: others wait for what is known here
REMEMBERED = 3.0  # seconds for which an instance that is gone is still expected: what it heard last is known by then


class Watch:
    """An instance's watch over the partitions, from `start` to `close`."""

    def __init__(self, store: Store, own: Callable[[], str], living: Callable[[], Awaitable[Collection[str]]]) -> None:
        """`own`: this instance's name among those of `living`, the incarnations that hold a lease."""
        self._store = store
        self._own = own
        self._living = living
        self._seen: dict[str, float] = {}  # when each was seen alive last
        self._blind = False  # the last look did not tell who lives
        self._away: set[int] = set()  # the Redises that did not answer the last look
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; from now on this process has a vote."""
        for partitions in self._partitions():
            partitions.witness = self._witness
        self._task = supervised("witness", self._watch)

    async def close(self) -> None:
        """Stop looking, and be no instance any more: what this process still says must not wipe out the word that the
        last one leaves."""
        for partitions in self._partitions():
            partitions.witness = Witness
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def leave(self) -> None:
        """Call it when the own lease is given back: the last one leaves word that the cluster ended in order."""
        try:
            if not await self._living():
                await asyncio.gather(*(_mark(shard) for shard in self._store.shards))
        except StoreUnavailable as error:
            logger.warning("no word could be left of the orderly end: %s", error)

    def _partitions(self) -> list[Partitions]:
        return [shard.partitions for shard in self._store.shards if shard.partitions is not None]

    def _witness(self) -> Witness:
        return Witness(self._own(), list(self._seen))

    async def _watch(self) -> None:
        while True:
            answers = await asyncio.gather(self._see_who_lives(), *(self._look(shard) for shard in self._store.shards))
            await asyncio.sleep(EVERY if all(answers) else AGAIN_AFTER)

    async def _see_who_lives(self) -> bool:
        try:
            living = await self._living()
        except StoreUnavailable:
            self._blind = True
            return False  # who was there when Redis was last is what counts, however long it is away
        now = time.monotonic()
        if self._blind:  # they have had no time to come back
            self._blind, self._seen = False, dict.fromkeys(self._seen, now)
        self._seen.update(dict.fromkeys(living, now))
        self._seen = {name: at for name, at in self._seen.items() if now - at < REMEMBERED}
        return True

    async def _look(self, shard: Shard) -> bool:
        """How far the partitions of a Redis are; False where it does not say.

        Of one that did not answer last time no more is asked than whether it is back: its new connection compares.
        """
        partitions = shard.partitions
        if partitions is None:
            return True
        try:
            if shard.index in self._away:
                await shard.call("PING")
                self._away.discard(shard.index)
            partitions.looked(await asyncio.gather(*(shard.call(*look) for look in partitions.looks())))
        except StoreUnavailable:
            self._away.add(shard.index)
        return shard.index not in self._away


async def _mark(shard: Shard) -> None:
    if shard.partitions is not None:
        await asyncio.gather(*(shard.call(*mark) for mark in shard.partitions.marks()))
