"""The channel layer: channels-redis's pub/sub layer, which here says when a connection was made again.

The stock layer subscribes again silently after a fault, and logs a traceback each second until then. This one calls
`on_reconnect(shard index)` when its subscriptions were sent over a new connection, so that the hub can look for what
was missed meanwhile; it waits between attempts, with jitter; and `give_up` drops a connection that hears nothing more.

On a Redis Cluster it has a connection for each virtual shard, to the node that has its slot now (`topics`, `pubsub`).
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
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from flotilla.realtime.engine.pubsub import SUBSCRIBED, UNSUBSCRIBED, Subscriptions, TopicsMoved
from flotilla.realtime.engine.topics import Topics, hosts_of
from flotilla.store import (
    Backoff,
    ReplyStream,
    Shard,
    StoreRefused,
    StoreUnavailable,
    get_store,
    isolation,
    supervised,
)
from flotilla.store.cluster import SlotGuide
from flotilla.store.conf import get_store_config
from flotilla.store.errors import MOVED
from flotilla.store.guides import Guide
from flotilla.store.once import Once
from flotilla.store.pools import async_pool, guide_of
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
    """One event loop's subscriptions. Set `on_reconnect` to be told which shard's connection was made again.

    Raises ImproperlyConfigured for hosts of which one is a cluster.
    """

    def __init__(self, hosts: Any = None, **options: Any) -> None:
        super().__init__(hosts, **options)
        each, shards = hosts_of(decode_hosts(hosts))
        self.topics = Topics(len(each), shards)
        self._names: dict[str, str] = {}  # topic → the mailbox that has it, where it is not the mailbox's name
        self._listeners: dict[str, Listener] = {}
        self._subscribing: dict[str, asyncio.Future[None]] = {}
        self.on_reconnect: Callable[[int], None] | None = None
        self._shards = [ShardConnection(host, self, index, of_cluster=shards > 0) for index, host in enumerate(each)]

    def _get_shard(self, name: str) -> "ShardConnection":
        return self._shards[self.topics.host(self.topics.of(name))]

    def _get_group_channel_name(self, group: str) -> str:
        return self.topics.of(super()._get_group_channel_name(group))

    def topic_opened(self, topic: str, name: str) -> None:
        """A mailbox, or a group by its topic, is subscribed to."""
        if topic != name:
            self._names[topic] = name

    def topic_closed(self, topic: str) -> None:
        """It is not any more."""
        self._names.pop(topic, None)

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
            name = self._names.get(name, name)
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
        self._names.clear()
        self._subscribing.clear()
        await super().flush()

    async def give_up(self, shard: int) -> None:
        """Drop a shard's connection; the receiver makes a new one."""
        await self._shards[shard].give_up()


@contextmanager
def _given_up_meanwhile() -> Iterator[None]:
    """redis-py raises an AttributeError when the receiver drops a connection while something is sent over it."""
    try:
        yield
    except AttributeError as error:
        raise StoreUnavailable("the pub/sub connection was given up meanwhile") from error


class ShardConnection(RedisSingleShardConnection):  # type: ignore[misc]
    """One Redis's pub/sub connection, or that of one virtual shard of a cluster."""

    def __init__(self, host: Any, layer: LoopLayer, index: int, *, of_cluster: bool = False) -> None:
        super().__init__({**CONNECTION, **host}, layer)
        self._index = index
        # What is sent in a cluster has to be held while its slot moves, as `Shard` can.
        self._sender = Shard(index, host["address"]) if of_cluster else None
        self._loop = asyncio.get_running_loop()
        self._guide: Guide | None = None  # from the first use on
        self._moves = 0  # of the master
        self._greeted = False
        self._redis: Redis | None
        self._pubsub: Subscriptions | None
        self._receive_task: asyncio.Task[None] | None

    def _ensure_redis(self) -> None:
        if self._redis is None:
            self._redis = Redis(connection_pool=self._pool())
            of_cluster = self._sender is not None
            self._pubsub = Subscriptions(self._redis.connection_pool, self._connected, of_cluster=of_cluster)

    def _pool(self) -> ConnectionPool:
        options = dict(self.host)
        address = options.pop("address", None)
        if address is None:  # in parts, as channels-redis takes them
            return create_pool(options)  # type: ignore[no-any-return]
        self._guide = guide_of(address)
        if self._guide is not None:
            self._guide.follow(self)
        return async_pool(address, **options)

    def moved(self) -> None:
        """Another server is the master now. Any thread may say so."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._go_over)

    def _go_over(self) -> None:
        if isinstance(self._guide, SlotGuide) and not self._is_astray(self._moves):
            return  # the node that had the slot has said so before
        self._moves += 1
        supervised("layer-moves", self.give_up)

    def _is_astray(self, moves: int) -> bool:
        """Whether the connection is to a server that was the master before. `moves`: when it began."""
        connection = self._pubsub.connection if self._pubsub is not None else None
        if not isinstance(self._guide, SlotGuide):
            return self._moves != moves
        if connection is None or not connection.is_connected:
            return False  # who connects asks where to
        return (connection.host, connection.port) != self._guide.known_master()

    def _connected(self) -> None:
        # redis-py registers this after the first connection was made, so every call is for a later one.
        if self.channel_layer.on_reconnect is not None:
            self.channel_layer.on_reconnect(self._index)

    async def give_up(self) -> None:
        connection = self._pubsub.connection if self._pubsub is not None else None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _ask_who_knows(self, error: Exception) -> None:
        """A node that says that a slot has moved knows, or names, who has it; others may not have heard of it yet."""
        if not isinstance(self._guide, SlotGuide):
            return
        if isinstance(error, TopicsMoved) and self._pubsub is not None and self._pubsub.connection is not None:
            self._guide.ask_first((self._pubsub.connection.host, self._pubsub.connection.port))
        elif isinstance(error, StoreRefused) and error.code == MOVED:
            self._guide.ask_first(error.text)

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
                            await pubsub.connect()
                        if self._is_astray(moves):
                            raise StoreUnavailable("Redis has another master since the connection began")
                    assert pubsub.connection is not None
                    replies = await ReplyStream.over(pubsub.connection, self._hear)
                self._note(pubsub, await replies.read())
            except Exception as error:  # without a receiver this process would never hear anything again
                replies = None
                if now() - failed_at > STEADY:
                    backoff.reset()
                failed_at = now()
                known = isinstance(error, LAYER_FAULTS)
                if not backoff.failures or (not known and once.news(type(error).__name__)):
                    what = "pub/sub connection to Redis %s lost: %s; reconnecting"
                    logger.log(WARNING if known else ERROR, what, self._index, error, exc_info=not known)
                self._ask_who_knows(error)
                await self.give_up()
                await asyncio.sleep(backoff.next())

    def _hear(self, replies: list[Any]) -> list[Any]:
        """Give messages to the layer, and back what else Redis says."""
        assert self._pubsub is not None
        kind = self._pubsub.message
        messages = [(reply[1], reply[2]) for reply in replies if type(reply) is list and reply[0] == kind]
        self.channel_layer.distribute(messages)
        if len(messages) == len(replies):
            return []
        return [reply for reply in replies if type(reply) is not list or reply[0] != kind]

    def _note(self, pubsub: Subscriptions, replies: list[Any]) -> None:
        """Note what Redis says of subscriptions.

        Raises StoreRefused where Redis refuses one (it does not say which, so all have to be made again), and
        StoreUnavailable where it has ended some by itself.
        """
        for reply in replies:
            if isinstance(reply, StoreRefused):
                raise reply
            if reply[0] in SUBSCRIBED:
                self.channel_layer.subscribed(reply[1].decode())
            elif reply[0] in UNSUBSCRIBED:
                pubsub.ended(reply[1].decode())

    def _ensure_receiver(self) -> None:
        """The receiver starts with the first subscription; until then there is nothing to read."""

    async def flush(self) -> None:
        if self._guide is not None:
            self._guide.leave(self)
        if self._sender is not None:
            await self._sender.close()
        await super().flush()

    async def publish(self, channel: str, message: bytes) -> None:
        if self._sender is None:
            await super().publish(channel, message)
        else:
            await self._sender.announce(self.channel_layer.topics.of(channel), message)

    async def subscribe(self, channel: str) -> None:
        topic = self.channel_layer.topics.of(channel)
        self.channel_layer.topic_opened(topic, channel)
        with _given_up_meanwhile():
            await super().subscribe(topic)
        if self._receive_task is None:
            self._receive_task = supervised("layer-receiver", self._do_receiving)

    async def unsubscribe(self, channel: str) -> None:
        topic = self.channel_layer.topics.of(channel)
        with _given_up_meanwhile():
            await super().unsubscribe(topic)
        self.channel_layer.topic_closed(topic)
