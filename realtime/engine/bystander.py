"""Hears what is published into channels, and who joins and leaves, without being one of their subscribers.

For who follows a channel live: nothing of it is counted, delivered or made good, and no subscriber notices. It has a
mailbox of its own, which is open while there is a channel to hear; what Redis announces while a connection is lost is
not heard.
"""

import logging
from collections.abc import Callable
from typing import Any

from flotilla.realtime.engine import envelope
from flotilla.realtime.engine.layer import LoopLayer
from flotilla.store import placement_of

logger = logging.getLogger("flotilla.realtime.bystander")

HEARD = (envelope.PUBLICATION, envelope.JOIN, envelope.LEAVE)

Hear = Callable[[str, str, dict[str, Any]], None]
"""Takes a kind of `HEARD`, the channel, and the whole message (`envelope`)."""


class Bystander:
    """Calls `hear` for what happens in the channels that were joined. Methods raise what the layer raises."""

    def __init__(self, layer: LoopLayer, hear: Hear) -> None:
        self._layer = layer
        self._hear = hear
        self._mailbox = ""
        self._channels: set[str] = set()

    async def join(self, channel: str) -> None:
        """Hear a channel from now on; joining it again makes sure of it."""
        if not self._mailbox:
            self._mailbox = await self._layer.new_channel()
            self._layer.listen(self._mailbox, self._receive)
        self._channels.add(channel)
        await self._layer.group_add(placement_of(channel).group, self._mailbox)

    async def leave(self, channel: str) -> None:
        """Hear it no more; with the last one the mailbox is closed."""
        if channel in self._channels:
            self._channels.discard(channel)
            await self._layer.group_discard(placement_of(channel).group, self._mailbox)
        if self._mailbox and not self._channels:
            mailbox, self._mailbox = self._mailbox, ""
            await self._layer.close_mailbox(mailbox)

    def _receive(self, batch: list[bytes]) -> None:
        for encoded in batch:
            try:
                message = envelope.decode(encoded)
                if message["type"] in HEARD and message["c"] in self._channels:
                    self._hear(message["type"], message["c"], message)
            except Exception:
                logger.exception("a message of the channel layer could not be heard: %.60r", encoded)
