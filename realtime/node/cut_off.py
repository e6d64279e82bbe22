"""An instance that is cut off from Redis sends its clients away after a time, if the project says so.

While nobody has Redis, clients are better off connected: there is nowhere to go, and all would come back at once.
Where this instance alone is cut off, others would serve them. An instance cannot know which of the two it is, so
without `disconnect_without_redis_after` it keeps them.
"""

import asyncio
import logging
from collections.abc import Iterable

from flotilla.realtime.client.client import Client
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.store.supervised import SupervisedTask

logger = logging.getLogger("flotilla.realtime.node")

LOOK_EVERY = 1.0  # seconds
WAVE = 100  # connections that are told to reconnect at a time
WAVE_EVERY = 0.05  # seconds


async def reconnect_in_waves(clients: Iterable[Client]) -> None:
    """Tell clients to reconnect (3011), not all of them at once."""
    waiting = list(clients)
    for start in range(0, len(waiting), WAVE):
        for client in waiting[start : start + WAVE]:
            client.disconnect(DisconnectCode.FORCE_RECONNECT)
        await asyncio.sleep(WAVE_EVERY)


class CutOff(SupervisedTask):
    """Looks how long Redis has been away. Use `start` and `stop`."""

    def __init__(self, node: NodeParts) -> None:
        super().__init__("cut-off", self._look)
        self._node = node
        self._after = node.config.disconnect_without_redis_after
        self._told = False  # in the log, of this outage

    async def start(self, **_: object) -> None:
        """Begin, where the project wants it."""
        if self._after:
            await super().start()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            clients, silent_for = list(self._node.clients.values()), self._node.presence.silent_for
            if silent_for <= self._after:
                self._told = False
            elif clients:
                if not self._told:
                    said = "Redis was not reached for %.0f s: %d clients reconnect, to an instance that has it"
                    logger.warning(said, silent_for, len(clients))
                self._told = True
                await reconnect_in_waves(clients)
