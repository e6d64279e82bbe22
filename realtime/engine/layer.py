"""The channel layer: channels-redis's pub/sub layer, which here says when a connection was made again.

The stock layer subscribes again silently after a fault, and logs a traceback each second until then. This one calls
`on_reconnect(shard index)` when its subscriptions were sent over a new connection, so that the hub can look for what
was missed meanwhile; it waits between attempts, with jitter; and `give_up` drops a connection that hears nothing more.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from logging import ERROR, WARNING
from typing import Any

from channels.layers import channel_layers
from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer, RedisSingleShardConnection
from channels_redis.utils import _wrap_close, create_pool, decode_hosts
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from flotilla.store import Backoff, ReplyStream, StoreRefused, StoreUnavailable, get_store, isolation, supervised
from flotilla.store.conf import get_store_config
from flotilla.store.once import Once
from flotilla.store.pools import async_pool, sentinels
from flotilla.store.urls import layer_host

logger = logging.getLogger("flotilla.realtime.layer")

LAYER_FAULTS = (StoreUnavailable, RedisError, OSError, TimeoutError)  # what a call of the layer may raise

Listener = Callable[[list[bytes]], None]
"""Takes the encoded messages that arrived in one read, in order. Must not raise."""

ALIAS = "flotilla"  # in CHANNEL_LAYERS
FIRST_PAUSE = 0.05  # seconds
MAX_PAUSE = 1.0
STEADY = 5.0  # seconds without a fault after which the next one counts as the first
CONNECTION = {
    "protocol": 2,  # one shape of messages, whatever the server's version
    "socket_connect_timeout": 2.0,
    "socket_timeout": 2.0,  # of writes and of the greeting; waiting for a message has no timeout
    "retry": Retry(NoBackoff(), 0),  # the receiver retries, in one place
}


class ChannelLayer(RedisPubSubChannelLayer):  # type: ignore[misc]
    """The backend for CHANNEL_LAYERS; options as for channels-redis's pub/sub layer."""

    def _get_layer(self) -> "LoopLayer":
        loop = asyncio.get_running_loop()
        layer = self._layers.get(loop)
        if layer is None:
            layer = self._layers[loop] = LoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        return layer  # type: ignore[no-any-return]

    def loop_layer(self) -> "LoopLayer":
        """The running event loop's part of the layer."""
        return self._get_layer()


@lru_cache(maxsize=8)
def _made(urls: tuple[str, ...], prefix: str) -> ChannelLayer:
    return ChannelLayer(hosts=[layer_host(url) for url in urls], prefix=prefix)


def get_layer() -> ChannelLayer:
    """The platform's own layer: `CHANNEL_LAYERS["flotilla"]`, or without it one of the store's Redises.

    A project's `default` stays the project's. Tests always have a layer of the store's, whose names are their own.
    """
    if ALIAS in channel_layers.configs and not isolation.begun():
        return channel_layers[ALIAS]  # type: ignore[no-any-return]
    return _made(get_store().urls, get_store_config().prefix)


class LoopLayer(RedisPubSubLoopLayer):  # type: ignore[misc]
    """One event loop's subscriptions. Set `on_reconnect` to be told which shard's connection was made again."""

    def __init__(self, hosts: Any = None, **options: Any) -> None:
        super().__init__(hosts, **options)
        self._listeners: dict[str, Listener] = {}
        self._subscribing: dict[str, asyncio.Future[None]] = {}
        self.on_reconnect: Callable[[int], None] | None = None
        self._shards = [ShardConnection(host, self, index) for index, host in enumerate(decode_hosts(hosts))]

    def listen(self, mailbox: str, listener: Listener) -> None:
        """Hand what arrives in a mailbox to `listener` instead of queueing it for `receive`."""
        self._listeners[mailbox] = listener

    async def close_mailbox(self, mailbox: str) -> None:
        """The opposite of `new_channel`: nothing is heard in this mailbox any more."""
        self._listeners.pop(mailbox, None)
        if self.channels.pop(mailbox, None) is not None:
            await self._get_shard(mailbox).unsubscribe(mailbox)

    def subscribing(self, topic: str) -> "asyncio.Future[None]":
        """Done when Redis next says that this process is subscribed to the topic."""
        return self._subscribing.setdefault(topic, asyncio.get_running_loop().create_future())

    def subscribed(self, topic: str) -> None:
        """Redis has said that this process is subscribed to the topic."""
        waiting = self._subscribing.pop(topic, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def distribute(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Put what one read brought, pairs of (topic, message), into the mailboxes that it is for."""
        heard: dict[str, list[bytes]] = {}
        for topic, message in messages:
            name = topic.decode()
            for mailbox in (name,) if name in self.channels else self.groups.get(name, ()):
                if mailbox in self._listeners:
                    heard.setdefault(mailbox, []).append(message)
                elif mailbox in self.channels:
                    self.channels[mailbox].put_nowait(message)
        for mailbox, batch in heard.items():
            self._listeners[mailbox](batch)

    async def flush(self) -> None:
        """As channels-redis's, listeners included."""
        self._listeners.clear()
        self._subscribing.clear()
        await super().flush()

    async def give_up(self, shard: int) -> None:
        """Drop a shard's connection; the receiver makes a new one."""
        await self._shards[shard].give_up()


class NoticingPubSub(PubSub):
    """A pub/sub client that calls `on_connected` after its subscriptions were sent over a new connection."""

    def __init__(self, pool: ConnectionPool, on_connected: Callable[[], None]) -> None:
        super().__init__(pool)
        self._on_connected = on_connected

    async def on_connect(self, connection: Any) -> None:
        await super().on_connect(connection)
        self._on_connected()


@contextmanager
def _given_up_meanwhile() -> Iterator[None]:
    """redis-py raises an AttributeError when the receiver drops a connection while something is sent over it."""
    try:
        yield
    except AttributeError as error:
        raise StoreUnavailable("the pub/sub connection was given up meanwhile") from error


class ShardConnection(RedisSingleShardConnection):  # type: ignore[misc]
    """One Redis's pub/sub connection."""

    def __init__(self, host: Any, layer: LoopLayer, index: int) -> None:
        super().__init__({**CONNECTION, **host}, layer)
        self._index = index
        self._loop = asyncio.get_running_loop()
        self._moves = 0  # of the master
        self._greeted = False
        self._redis: Redis | None
        self._pubsub: NoticingPubSub | None
        self._receive_task: asyncio.Task[None] | None

    def _ensure_redis(self) -> None:
        if self._redis is None:
            self._redis = Redis(connection_pool=self._pool())
            self._pubsub = NoticingPubSub(self._redis.connection_pool, self._connected)

    def _pool(self) -> ConnectionPool:
        options = dict(self.host)
        address = options.pop("address", None)
        if address is None:  # in parts, as channels-redis takes them
            return create_pool(options)  # type: ignore[no-any-return]
        if (behind := sentinels(address)) is not None:
            behind.follow(self)
        return async_pool(address, **options)

    def moved(self) -> None:
        """Another server is the master now. Any thread may say so."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._go_over)

    def _go_over(self) -> None:
        self._moves += 1
        supervised("layer-moves", self.give_up)

    def _connected(self) -> None:
        # redis-py registers this after the first connection was made, so every call is for a later one.
        if self.channel_layer.on_reconnect is not None:
            self.channel_layer.on_reconnect(self._index)

    async def give_up(self) -> None:
        connection = self._pubsub.connection if self._pubsub is not None else None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _do_receiving(self) -> None:
        backoff = Backoff(FIRST_PAUSE, MAX_PAUSE)
        once, failed_at = Once(), 0.0
        pubsub, now, task = self._pubsub, asyncio.get_running_loop().time, asyncio.current_task()
        assert pubsub is not None and task is not None
        replies: ReplyStream | None = None
        while not task.cancelling():  # redis-py may swallow it
            try:
                if replies is None or not replies.current:
                    async with self._lock:  # a subscribe at the same time would connect twice
                        moves = self._moves
                        if pubsub.connection is None or not pubsub.connection.is_connected:
                            await pubsub.connect()  # type: ignore[no-untyped-call]
                        if self._moves != moves:
                            raise StoreUnavailable("Redis has another master since the connection began")
                    assert pubsub.connection is not None
                    replies = await ReplyStream.over(pubsub.connection, self._hear)
                await self._note(pubsub, await replies.read())
            except Exception as error:  # without a receiver this process would never hear anything again
                replies = None
                if now() - failed_at > STEADY:
                    backoff.reset()
                failed_at = now()
                known = isinstance(error, LAYER_FAULTS)
                if not backoff.failures or (not known and once.news(type(error).__name__)):
                    what = "pub/sub connection to Redis %s lost: %s; reconnecting"
                    logger.log(WARNING if known else ERROR, what, self._index, error, exc_info=not known)
                await self.give_up()
                await asyncio.sleep(backoff.next())

    def _hear(self, replies: list[Any]) -> list[Any]:
        """Give messages to the layer, and back what else Redis says."""
        messages = [(reply[1], reply[2]) for reply in replies if type(reply) is list and reply[0] == b"message"]
        self.channel_layer.distribute(messages)
        if len(messages) == len(replies):
            return []
        return [reply for reply in replies if type(reply) is not list or reply[0] != b"message"]

    async def _note(self, pubsub: "NoticingPubSub", replies: list[Any]) -> None:
        """Tell redis-py, which keeps count of subscriptions, what Redis says of them.

        Raises StoreRefused where Redis refuses a subscription: it does not say which, so all have to be made again.
        """
        errors = [reply for reply in replies if isinstance(reply, StoreRefused)]
        for reply in replies:
            if not isinstance(reply, StoreRefused):
                await pubsub.handle_message(reply)  # type: ignore[no-untyped-call]
                if reply[0] == b"subscribe":
                    self.channel_layer.subscribed(reply[1].decode())
        if errors:
            raise errors[0]

    def _ensure_receiver(self) -> None:
        """The receiver starts with the first subscription; until then there is nothing to read."""

    async def flush(self) -> None:
        address = self.host.get("address")
        if address is not None and (behind := sentinels(address)) is not None:
            behind.leave(self)
        await super().flush()

    async def subscribe(self, channel: str) -> None:
        with _given_up_meanwhile():
            await super().subscribe(channel)
        if self._receive_task is None:
            self._receive_task = supervised("layer-receiver", self._do_receiving)

    async def unsubscribe(self, channel: str) -> None:
        with _given_up_meanwhile():
            await super().unsubscribe(channel)
