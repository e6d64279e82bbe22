"""One pub/sub connection's subscriptions: which commands make them on this server, which are made again, which ended.

In a cluster all topics of a connection are of one slot, and from Redis 7.0 on they are subscribed to at that slot's
master (SSUBSCRIBE), which says so when the slot has gone (`sunsubscribe`). Older servers tell everybody everything, and
are subscribed to as a Redis that is no cluster. Scripts announce by the same rule (`store/lua/_announce.lua`).
"""

from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection

from flotilla.store import StoreUnavailable
from flotilla.store.fitness import has_sharded_topics

AT_ONCE = 1000  # topics in one command
SUBSCRIBED = (b"subscribe", b"ssubscribe")
UNSUBSCRIBED = (b"unsubscribe", b"sunsubscribe")


class TopicsMoved(StoreUnavailable):
    """The server has ended subscriptions by itself, because another one has their slot now."""


class Subscriptions(PubSub):
    """A pub/sub client that calls `on_connected` after its subscriptions were sent over a new connection.

    redis-py connects; which topics are wanted is kept here. `of_cluster`: all of them are of one slot of a cluster.
    """

    def __init__(self, pool: ConnectionPool, on_connected: Callable[[], None], *, of_cluster: bool = False) -> None:
        super().__init__(pool)
        self._on_connected = on_connected
        self._of_cluster = of_cluster
        self._sharded = False  # by the server that we are connected to
        self._topics: dict[str, None] = {}
        self._leaving: Counter[str] = Counter()  # by how many answers to our unsubscribing are on their way

    @property
    def message(self) -> bytes:
        """How a message begins on this connection."""
        return b"smessage" if self._sharded else b"message"

    async def connect(self) -> None:
        """Connect, if we are not; the first connection is no reconnection."""
        first = self.connection is None
        await super().connect()  # type: ignore[no-untyped-call]
        if first:
            await self._greet(self.connection)

    async def on_connect(self, connection: AbstractConnection) -> None:
        """redis-py has connected again."""
        self._leaving.clear()
        await self._greet(connection)
        self._on_connected()

    async def _greet(self, connection: Any) -> None:
        """Find out how this server is subscribed to, and subscribe. Where that fails the connection is given up, or it
        would be used as if nothing were missing."""
        try:
            if self._of_cluster:
                await connection.send_command("INFO", "server", check_health=False)
                self._sharded = has_sharded_topics(await connection.read_response())
            topics = iter(list(self._topics))
            while some := list(islice(topics, AT_ONCE)):
                await connection.send_command(self._word("SUBSCRIBE"), *some, check_health=False)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def subscribe(self, topic: str) -> None:  # type: ignore[override]
        """Send it off; the answer comes with the messages."""
        await self.connect()
        await self.execute_command(self._word("SUBSCRIBE"), topic)
        self._topics[topic] = None

    async def unsubscribe(self, topic: str) -> None:
        """The opposite."""
        await self.connect()
        self._leaving[topic] += 1
        await self.execute_command(self._word("UNSUBSCRIBE"), topic)
        self._topics.pop(topic, None)

    def ended(self, topic: str) -> None:
        """The server says that it has unsubscribed us. Raises TopicsMoved where we have not asked for it: the
        slot has moved, and what is announced elsewhere is not heard here."""
        if self._leaving[topic] <= 0:
            raise TopicsMoved("its topics have moved to another node of the cluster")
        self._leaving[topic] -= 1
        if not self._leaving[topic]:
            del self._leaving[topic]

    def _word(self, command: str) -> str:
        return f"S{command}" if self._sharded else command
