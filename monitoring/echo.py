"""A connection of its own to one Redis, over which a check hears what it has published.

The layer's own connection is not used for it: a command that Redis refuses there ends all subscriptions of the
process.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ResponseError

from flotilla.store import Shard
from flotilla.store.announcing import is_sharded
from flotilla.store.errors import from_client, is_unknown_command

_MESSAGES = (b"message", b"smessage")


class Echo:
    """Made for one Shard, which closes the connection with its own. Connects at the first use, and after a fault."""

    def __init__(self, shard: Shard) -> None:
        self._connection = shard.beside()

    async def hears(self, topic: str, part: bytes, publish: Callable[[], Awaitable[None]]) -> None:
        """Subscribe to `topic`, let `publish` do its work, and wait for a message with `part` in it; then unsubscribe.

        Raises what `publish` raises, and StoreUnavailable: StoreRefused where Redis answers with an error.
        """
        try:
            await self._connection.connect()
            ending = await self._subscribe(topic)
            await publish()
            while part not in await self._message():
                pass
            await self._say(ending, topic)
        except BaseException as error:
            await self._connection.disconnect(nowait=True)  # what still comes over it belongs to no later check
            if isinstance(error, Exception):
                raise from_client(error) from error
            raise

    async def _subscribe(self, topic: str) -> str:
        """Subscribe as the channel layer does (`flotilla.realtime.engine.pubsub`); returns the opposite command."""
        if is_sharded(topic):
            try:
                await self._say("SSUBSCRIBE", topic)
                return "SUNSUBSCRIBE"
            except ResponseError as error:
                if not is_unknown_command(str(error)):
                    raise
        await self._say("SUBSCRIBE", topic)
        return "UNSUBSCRIBE"

    async def _say(self, word: str, topic: str) -> None:
        """Send one of these commands, and wait until Redis has done it; messages in between are dropped."""
        await self._connection.send_command(word, topic)
        while (await self._connection.read_response())[0] != word.lower().encode():
            pass

    async def _message(self) -> bytes:
        reply: list[Any] = await self._connection.read_response()
        return bytes(reply[2]) if reply[0] in _MESSAGES else b""
