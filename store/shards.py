"""The Redises of the cluster: one Shard each, and the Store that knows which name lives on which.

A Shard is called from coroutines (`run`, `execute`) or from threads (`run_sync`, `execute_sync`); both speak to the
same Redis with the same deadline and raise the same errors.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import redis
import redis.asyncio as aioredis
from channels_redis.utils import _consistent_hash as layer_hash
from django.core.exceptions import ImproperlyConfigured
from redis.asyncio.connection import AbstractConnection
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from flotilla.store.conf import NO_REDIS_MEND, get_store_config
from flotilla.store.deadline import bounded
from flotilla.store.errors import ELSEWHERE, UNKNOWN_SCRIPT, StoreRefused, StoreUnavailable, from_client
from flotilla.store.link import COMPARE_EVERY, HELD_WITHIN, Argument, Link, pack
from flotilla.store.outage import Outage
from flotilla.store.partitions import DOUBT, Partitions, run_of
from flotilla.store.placement import Placement
from flotilla.store.pools import async_pool, sentinels, sync_client
from flotilla.store.scripts import Script
from flotilla.store.sentinels import Follower
from flotilla.store.stats import RedisStats

TIMEOUT = 2.0  # seconds a call may take


class Shard:
    """One Redis. `index` is its number in REDIS_URL. `partitions`: None where it does not matter if Redis comes back
    with an older state."""

    def __init__(self, index: int, url: str, timeout: float = TIMEOUT, partitions: Partitions | None = None) -> None:
        self.index = index
        self.url = url
        self.timeout = timeout
        self.partitions = partitions
        self.stats = RedisStats(f"Redis {index}")
        self.outage = self._no_outage()
        self._links: WeakKeyDictionary[asyncio.AbstractEventLoop, Link] = WeakKeyDictionary()
        self._current: tuple[asyncio.AbstractEventLoop, Link] | None = None  # the one asked for last
        self._client: redis.Redis | None = None
        self._beside: list[AbstractConnection] = []
        self._beside_pool: aioredis.ConnectionPool | None = None  # kept: behind sentinels, connections only borrow it

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run `script`; raises StoreUnavailable: StoreRefused where Redis answers with an error."""
        return await self.start(script, keys, args)

    def start(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> "asyncio.Future[Any]":
        """As `run`: sends the call off at once, in the order of calls; the answer comes later."""
        size = len(keys)
        command = ("EVALSHA", script.sha, size, *keys, *args)
        return self._link().call(
            command, lambda: ("EVAL", script.text, size, *keys, *args), in_order=script.needs_partition
        )

    async def execute(self, *command: Argument) -> Any:
        """Run one command and return its raw reply; raises as `run` does."""
        return await self.call(*command)

    def call(self, *command: Argument) -> "asyncio.Future[Any]":
        """The future reply to a command. Calls of one loop turn share one write; replies keep the order of calls."""
        return self._link().call(command)

    def _link(self) -> Link:
        loop = asyncio.get_running_loop()
        if self._current is not None and self._current[0] is loop:
            return self._current[1]
        link = self._links.get(loop)
        if link is None:
            for ended in [known for known in self._links if known.is_closed()]:
                del self._links[ended]  # a link refers to its loop, so the pair would never be freed
            link = self._links[loop] = Link(self._async_pool(), self.timeout, self.stats, self.partitions)
            self._follow(link)
        self._current = (loop, link)
        return link

    def run_sync(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """`run` for code without an event loop; safe in threads."""
        gives_up = time.monotonic() + bounded(HELD_WITHIN)
        while True:
            try:
                return self._run_once(script, keys, args)
            except StoreRefused as error:
                if error.code != DOUBT or self.partitions is None or time.monotonic() > gives_up:
                    raise self._failed_sync(error) from error.__cause__
            time.sleep(COMPARE_EVERY)
            self._compare_sync(self.partitions)

    def _run_once(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        try:
            return self._ask_sync("EVALSHA", script.sha, len(keys), *keys, *args)
        except StoreRefused as error:
            if error.code != UNKNOWN_SCRIPT:
                raise
        return self._ask_sync("EVAL", script.text, len(keys), *keys, *args)

    def _compare_sync(self, partitions: Partitions) -> None:
        """Ask again whether a doubt is over, and make partitions that are gone."""
        everything = range(len(partitions.all))
        run = run_of(self.execute_sync("INFO", "server"))
        answers = self.batch_sync(partitions.questions(run, everything))
        partitions.answered(run, everything, answers)

    def execute_sync(self, *command: Argument) -> Any:
        """`execute` for code without an event loop; safe in threads."""
        try:
            return self._ask_sync(*command)
        except StoreRefused as error:
            raise self._failed_sync(error) from error.__cause__

    def _ask_sync(self, *command: Argument) -> Any:
        try:
            with self._asking(1) as client:
                return client.execute_command(*command)
        except StoreRefused:
            raise
        except StoreUnavailable as error:
            raise self._failed_sync(error) from error.__cause__

    @contextmanager
    def _asking(self, commands: int) -> Iterator[redis.Redis]:
        """The client of threads, for one round trip. Raises StoreUnavailable: StoreNotAsked at once in an outage."""
        self.outage.require_none()
        self.stats.commands += commands
        with self._timed() as client:
            yield client

    @contextmanager
    def _timed(self) -> Iterator[redis.Redis]:
        began = time.monotonic()
        try:
            yield self._threads()
        except (RedisError, OSError) as error:
            found = from_client(error)
            if not isinstance(found, StoreRefused):
                self.outage.silent(time.monotonic() - began, self.timeout)
            raise found from error
        self.outage.answered()

    def _ask_again(self) -> None:
        """Ask in an outage whether it is over. Raises StoreUnavailable."""
        with self._timed() as client:
            client.execute_command("PING")

    def _no_outage(self) -> Outage:
        return Outage(f"Redis {self.index}", self._ask_again)

    def _failed_sync(self, error: StoreUnavailable) -> StoreUnavailable:
        """Count a failure; connections to a server that is not the right one are given up."""
        if not isinstance(error, StoreRefused):
            self.stats.unavailable += 1
            return error
        self.stats.refuse(error)
        client = self._client
        if error.code in ELSEWHERE and client is not None:
            client.connection_pool.disconnect(inuse_connections=False)
        return error

    def _threads(self) -> redis.Redis:
        """The client of threads."""
        client = self._client
        if client is None:
            client = self._sync_client()
            client.response_callbacks.clear()  # replies as they are, like the asynchronous ones
            self._client = client
        return client

    def batch_sync(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Several commands in one round trip, for threads; an error among the replies is raised."""
        if not commands:
            return []
        try:
            with self._asking(len(commands)) as client:
                pipeline = client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                replies = list(pipeline.execute(raise_on_error=False))
        except StoreUnavailable as error:
            raise self._failed_sync(error) from error.__cause__
        for reply in replies:
            if isinstance(reply, Exception):
                raise self._failed_sync(from_client(reply)) from reply
        return replies

    async def close(self) -> None:
        """Close this loop's connections and the synchronous ones."""
        self._current = None
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link is not None:
            self._leave(link)
            await link.close()
        for connection in self._beside:
            await connection.disconnect(nowait=True)
        self.close_sync()

    def close_sync(self) -> None:
        """Close the connections of threads."""
        self.outage.end()
        self.outage = self._no_outage()
        if self._client is not None:
            self._leave(self)
            self._client.close()
            self._client = None

    def _options(self, retry: Any) -> dict[str, Any]:
        return {
            "protocol": 2,  # one shape of replies, whatever the server's version
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "retry": retry,
        }

    def beside(self) -> AbstractConnection:
        """A connection beside the shared one, for the caller alone, who connects it; `close` ends it."""
        if self._beside_pool is None:
            self._beside_pool = self._async_pool()
        connection: AbstractConnection = self._beside_pool.make_connection()
        self._beside.append(connection)
        return connection

    def _async_pool(self) -> aioredis.ConnectionPool:
        return async_pool(self.url, **self._options(aioredis.retry.Retry(NoBackoff(), 0)))

    def _sync_client(self) -> redis.Redis:
        # an idle connection may have been closed, so try once more, at once; but do not wait twice for a silent Redis
        options = self._options(Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)))
        if self.partitions is not None:
            options["redis_connect_func"] = self._greet_sync
        self._follow(self)
        return sync_client(self.url, **options)

    def _follow(self, follower: Follower) -> None:
        if (behind := sentinels(self.url)) is not None:
            behind.follow(follower)

    def _leave(self, follower: Follower) -> None:
        if (behind := sentinels(self.url)) is not None:
            behind.leave(follower)

    def moved(self) -> None:
        """Another server is the master: threads begin with new connections. One that is in a call finishes it."""
        client, self._client = self._client, None
        if client is not None:
            client.connection_pool.disconnect(inuse_connections=False)

    def _greet_sync(self, connection: Any) -> None:
        """Begin a connection as `Link` does: before anything else, what is known of the partitions is compared."""
        partitions = self.partitions
        assert partitions is not None  # it is not called without any
        connection.on_connect()
        try:
            _say(connection, [("SCRIPT", "LOAD", script.text) for script in partitions.scripts])
            run, everything = run_of(_say(connection, [("INFO", "server")])[0]), range(len(partitions.all))
            partitions.answered(run, everything, _say(connection, partitions.questions(run, everything)))
        except BaseException:
            connection.disconnect()  # or the pool would use it again
            raise

    def __repr__(self) -> str:
        return f"<Shard {self.index}>"


def _say(connection: Any, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    connection.send_packed_command([pack(tuple(command)) for command in commands], check_health=False)
    return [connection.read_response() for _ in commands]


class Store:
    """All shards. The hash over them is the channel layer's own, so keys live where their group's messages go."""

    def __init__(self, urls: Sequence[str], timeout: float = TIMEOUT) -> None:
        self.urls = tuple(urls)
        self.shards = [Shard(index, url, timeout, Partitions()) for index, url in enumerate(urls)]

    @property
    def first(self) -> Shard:
        """The shard for what belongs to the cluster as a whole."""
        return self.shards[0]

    def shard_for(self, placement: Placement) -> Shard:
        """The shard of a name."""
        index: int = layer_hash(placement.topic, len(self.shards))
        return self.shards[index]

    def batch_sync(self, commands: Sequence[tuple[Placement, Sequence[Argument]]]) -> list[Any]:
        """Commands about several names, for threads: one round trip a shard, replies in the order of the commands."""
        replies: list[Any] = [None] * len(commands)
        for shard in self.shards:
            own = [number for number, (name, _) in enumerate(commands) if self.shard_for(name) is shard]
            found = shard.batch_sync([commands[number][1] for number in own])
            for number, reply in zip(own, found, strict=True):
                replies[number] = reply
        return replies

    async def close(self) -> None:
        """Close every connection made in this loop."""
        for shard in self.shards:
            await shard.close()


_store: tuple[int, Store] | None = None


def get_store() -> Store:
    """The process's Store, made from the settings at the first call (and again after a fork).

    Raises ImproperlyConfigured where no Redis is configured.
    """
    global _store
    if _store is None or _store[0] != os.getpid():
        urls = get_store_config().redis_urls
        if not urls:
            raise ImproperlyConfigured(f"No Redis is configured. {NO_REDIS_MEND}")
        _store = (os.getpid(), Store(urls))
    return _store[1]


def current_store() -> Store | None:
    """The process's Store, if it was made."""
    return _store[1] if _store is not None and _store[0] == os.getpid() else None


def reset_store() -> None:
    """Forget the process's Store, so that the next call reads the settings again (tests)."""
    global _store
    _store = None
