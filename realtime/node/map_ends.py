"""Takes entries out of maps when their time is over, so that everybody is told, and nothing stays for ever.

One instance at a time does it, by a key on the first Redis that runs out: two would do no harm, for an entry is taken
out by a script, once. Without a map in the configuration there is no task and no key.
"""

import asyncio
import contextlib
import logging
import secrets

from flotilla.realtime.access.channels import PRESENCE_MAP, options_for
from flotilla.realtime.conf import ChannelOptions, RealtimeConfig
from flotilla.realtime.engine.map_calls import ENDS, due_key
from flotilla.realtime.engine.maps import Maps
from flotilla.realtime.protocol.codes import CommandError
from flotilla.store import Shard, Store, StoreUnavailable, jittered, reading, supervised, whole_placement

logger = logging.getLogger("flotilla.realtime.map_ends")

EVERY = 0.5  # seconds
HELD_FOR = 3.0  # seconds after its last sign until another instance does it
MOST = 100  # channels of a partition in one round


class MapEnds:
    """The task of one process. `start` it in the event loop, `close` it at the end."""

    def __init__(self, config: RealtimeConfig, store: Store, maps: Maps) -> None:
        self._config = config
        self._store = store
        self._maps = maps
        self._who = secrets.token_hex(8)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if any channel is a map."""
        if self._config.has_maps:
            self._task = supervised("map-ends", self._run)

    async def close(self) -> None:
        """End; another instance goes on after a moment."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            with contextlib.suppress(StoreUnavailable):
                if await self._holds():
                    await self._store.first.execute("DEL", self._key)

    @property
    def _key(self) -> str:
        return whole_placement("maps").key("map-ends")

    async def _run(self) -> None:
        while True:
            more = False
            try:
                if await self._holds():
                    more = await self.round()
            except StoreUnavailable:
                pass  # what was not done is still to be done
            await asyncio.sleep(0 if more else jittered(EVERY))

    async def _holds(self) -> bool:
        """Whether this process is the one that does it."""
        first, held_for = self._store.first, int(HELD_FOR * 1000)
        if await first.execute("SET", self._key, self._who, "PX", held_for, "NX") is not None:
            return True
        if await first.execute("GET", self._key) != self._who.encode():
            return False
        await first.execute("PEXPIRE", self._key, held_for)
        return True

    async def round(self) -> bool:
        """Take out what has ended. True when there is more. Raises StoreUnavailable when every Redis is away."""
        answers = await asyncio.gather(*map(self._shard, self._store.shards), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, StoreUnavailable) or len(failures) == len(answers):
                raise failure
        return any(answer is True for answer in answers)

    async def _shard(self, shard: Shard) -> bool:
        seconds, micros = await shard.execute("TIME")
        now = int(seconds) * 1000 + int(micros) // 1000
        assert shard.partitions is not None  # every shard of a store has them
        asked = [
            shard.call("ZRANGEBYSCORE", due_key(partition), "-inf", now, "LIMIT", 0, MOST)
            for partition in shard.partitions.placements()
        ]
        more = False
        for found in await asyncio.gather(*asked):
            with reading("the maps whose entries have ended"):
                channels = [channel.decode() for channel in found]
            for channel in channels:
                more |= await self._maps.end(channel, self._options(channel)) >= ENDS
            more |= len(channels) == MOST
        return more

    def _options(self, channel: str) -> ChannelOptions:
        """The channel's options; where its namespace is gone, what is left of its maps goes all the same."""
        try:
            options = options_for(channel, self._config)
        except CommandError:
            return PRESENCE_MAP
        return options if options.map else PRESENCE_MAP
