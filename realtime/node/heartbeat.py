"""Heartbeats: once a second the process sends itself a numbered message, a beat, through the layer of each shard.

A pub/sub connection can be half open for minutes, and one that was made again may have lost messages without any
visible fault. A beat that does not come back although Redis took it shows the first; a missing number shows the second.
Each shard has a task of its own, so that one that hangs does not delay the beats of others.
"""

import asyncio
import logging
import secrets
import time
from functools import partial

from flotilla.realtime.engine import envelope
from flotilla.realtime.engine.hub import Hub
from flotilla.realtime.engine.layer import LAYER_FAULTS, LoopLayer
from flotilla.store import Store, StoreUnavailable, placement_of, supervised
from flotilla.store.own_names import name_per_shard

logger = logging.getLogger("flotilla.realtime.heartbeat")

EVERY = 1.0  # seconds
DEAF_AFTER = 3.0  # seconds without a beat after which a connection is given up


class Heartbeat:
    """Sends and receives the beats of every shard. `alive` says whether the last ones came back."""

    def __init__(self, store: Store, hub: Hub, layer: LoopLayer) -> None:
        self._store = store
        self._hub = hub
        self._layer = layer
        names = name_per_shard(store, f"beat\0{secrets.token_hex(8)}")  # this process's own
        self._placements = [placement_of(name) for name in names]
        shards = len(store.shards)
        self._sent = [0] * shards
        self._received = [0] * shards
        self._heard_at = [0.0] * shards
        self._sent_at = [0.0] * shards
        self._unheard_since: list[float | None] = [None] * shards  # when Redis took the first beat not back yet
        self.round_trips = [0.0] * shards  # seconds that each shard's last beat took
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def alive(self) -> bool:
        """Whether every shard's subscription has delivered within the last seconds."""
        now = time.monotonic()
        return bool(self._tasks) and all(now - heard < DEAF_AFTER for heard in self._heard_at)

    async def start(self) -> None:
        """Join the groups that carry the beats, and begin to send."""
        for placement in self._placements:
            await self._hub.join_group(placement.group)
        if not self._tasks:
            self._tasks = [supervised("heartbeat", partial(self._beat, shard.index)) for shard in self._store.shards]

    async def close(self) -> None:
        """Stop sending."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def arrived(self, shard: int, number: int) -> None:
        """A beat came back."""
        self._heard_at[shard] = now = time.monotonic()
        self._unheard_since[shard] = None
        if number == self._sent[shard]:
            self.round_trips[shard] = now - self._sent_at[shard]
        last, self._received[shard] = self._received[shard], number
        if last and number > last + 1:
            logger.warning("beats %d to %d of Redis %d were lost: messages may be missing", last + 1, number - 1, shard)
            self._hub.resync(shard)

    async def _beat(self, shard: int) -> None:
        while True:
            await self._beat_once(shard)
            await asyncio.sleep(EVERY)

    async def _beat_once(self, shard: int) -> None:
        topic = self._placements[shard].topic
        self._sent[shard] += 1
        self._sent_at[shard] = sent_at = time.monotonic()
        try:
            await self._store.shards[shard].announce(topic, envelope.beat(shard, self._sent[shard]))
        except StoreUnavailable:
            self._unheard_since[shard] = None  # Redis did not take it, so nothing can come back
            return
        if self._heard_at[shard] >= sent_at:
            return
        since = self._unheard_since[shard]
        if since is None:
            self._unheard_since[shard] = sent_at
        elif time.monotonic() - since > DEAF_AFTER:
            logger.warning("nothing was heard from Redis %d for %.1f s: connecting again", shard, DEAF_AFTER)
            self._unheard_since[shard] = None  # counted again for the new connection
            try:
                await self._layer.give_up(shard)
            except LAYER_FAULTS as error:
                logger.warning("the deaf connection could not be closed: %s", error)
