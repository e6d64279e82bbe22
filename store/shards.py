"""The Redises of the cluster: one Shard each, and the Store that knows which name lives on which.

A Shard is called from coroutines (`run`, `execute`) or from threads (`run_sync`, `execute_sync`); both speak to the
same Redis with the same deadline and raise the same errors.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from weakref import WeakKeyDictionary

import redis.asyncio as aioredis
from channels_redis.utils import _consistent_hash as layer_hash
from django.core.exceptions import ImproperlyConfigured
from redis.asyncio.connection import AbstractConnection
from redis.backoff import NoBackoff

from flotilla.store.address import MEMORY
from flotilla.store.announcing import Announcing
from flotilla.store.cluster import SlotGuide
from flotilla.store.conf import NO_REDIS_MEND, get_store_config
from flotilla.store.errors import StoreRefused, StoreSilent
from flotilla.store.layout import Layout, Place
from flotilla.store.link import Link
from flotilla.store.partitions import Partitions
from flotilla.store.placement import Placement, SlotPlacement
from flotilla.store.pools import async_pool, guide_of, options_of
from flotilla.store.resp import Argument
from flotilla.store.scripts import Script
from flotilla.store.stats import RedisStats
from flotilla.store.threads import Threads
from flotilla.store.urls import expanded, of_cluster, slot_in
from flotilla.store.waiting import Waiting

TIMEOUT = 2.0  # seconds a call may take


class Shard:
    """One Redis, or what one slot of a cluster holds. `index` is its number in REDIS_URL. `partitions`: None where it
    does not matter if Redis comes back with an older state. `wait_once`: threads do not ask a Redis that is known to be
    silent (`flotilla.store.outage`).
    `place`: its place in the cluster's layout, without which nobody but this process calls it.
    """

    def __init__(
        self,
        index: int,
        url: str,
        timeout: float = TIMEOUT,
        partitions: Partitions | None = None,
        *,
        wait_once: bool = False,
        place: Place | None = None,
    ) -> None:
        self.index = index
        self.url = url
        self.timeout = timeout
        self.partitions = partitions
        name = f"Redis {index}" if (slot := slot_in(url)) is None else f"Redis {index} (slot {slot})"
        self.stats = RedisStats(name)
        self._links: WeakKeyDictionary[asyncio.AbstractEventLoop, Link] = WeakKeyDictionary()
        self._current: tuple[asyncio.AbstractEventLoop, Link] | None = None  # the one asked for last
        self._place = place
        self._threads = Threads(name, url, timeout, self.stats, partitions, wait_once=wait_once, place=place)
        self._announcing = Announcing()
        self._beside: list[AbstractConnection] = []
        self._beside_pool: aioredis.ConnectionPool | None = None  # kept: behind a guide, connections only borrow it

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run `script`; raises StoreUnavailable: StoreRefused where Redis answers with an error."""
        return await self.start(script, keys, args)

    def start(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> "asyncio.Future[Any]":
        """As `run`: sends the call off at once, in the order of calls; the answer comes later."""
        return self._link().call(("EVALSHA", script.sha, len(keys), *keys, *args), script)

    def send(self, packed: bytes, waiting: Waiting, script: Script) -> None:
        """As `start`, for a call of `script` that is packed already: `waiting` gets the reply or the error."""
        self._link().send(packed, waiting, script)

    async def execute(self, *command: Argument) -> Any:
        """Run one command and return its raw reply; raises as `run` does."""
        return await self.call(*command)

    def call(self, *command: Argument) -> "asyncio.Future[Any]":
        """The future reply to a command. Calls of one loop turn share one write; replies keep the order of calls."""
        return self._link().call(command)

    async def announce(self, topic: str, message: bytes) -> int:
        """Send a message to those who are subscribed to `topic`, and say how many they were; raises as `run` does."""
        command = self._announcing.command(topic, self._run)
        try:
            return int(await self.call(command, topic, message))
        except StoreRefused as error:
            if not self._announcing.refused(command, error, self._run):
                raise
            return await self.announce(topic, message)

    @property
    def _run(self) -> str:
        """The run of Redis that is known; "" where nobody asks for it."""
        return self.partitions.run if self.partitions is not None else ""

    def _link(self) -> Link:
        loop = asyncio.get_running_loop()
        if self._current is not None and self._current[0] is loop:
            return self._current[1]
        link = self._links.get(loop)
        if link is None:
            for ended in [known for known in self._links if known.is_closed()]:
                del self._links[ended]  # a link refers to its loop, so the pair would never be freed
            behind = guide_of(self.url)
            of_slot = behind if isinstance(behind, SlotGuide) else None
            known = (self.timeout, self.stats, self.partitions, of_slot, self._place)
            link = self._links[loop] = Link(self._async_pool(), *known)
            if behind is not None:
                behind.follow(link)
        self._current = (loop, link)
        return link

    def run_sync(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """`run` for code without an event loop; safe in threads."""
        return self._threads.run(script, keys, args)

    def send_sync(self, packed: bytes, script: Script) -> Any:
        """As `run_sync`, for a call of `script` that is packed already."""
        return self._threads.run_packed(packed, script)

    def execute_sync(self, *command: Argument) -> Any:
        """`execute` for code without an event loop; safe in threads."""
        return self._threads.execute(*command)

    def announce_sync(self, topic: str, message: bytes) -> int:
        """`announce` for code without an event loop; safe in threads."""
        command = self._announcing.command(topic, self._run)
        try:
            return int(self.execute_sync(command, topic, message))
        except StoreRefused as error:
            if not self._announcing.refused(command, error, self._run):
                raise
            return self.announce_sync(topic, message)

    def run_many_sync(self, calls: Sequence[tuple[Script, Sequence[str], Sequence[Argument]]]) -> list[Any]:
        """Several scripts in one round trip, for threads: replies in the order of the calls, StoreRefused for each one
        that Redis answered with an error. One that was stopped by a doubt may pass when it is tried again."""
        return self._threads.run_many(calls)

    def compare_sync(self) -> None:
        """Compare what is known of the partitions with this run of Redis, for threads."""
        self._threads.compare()

    def batch_sync(self, commands: Sequence[Sequence[Argument]], *, waits: bool = True) -> list[Any]:
        """Several commands in one round trip, for threads; an error among the replies is raised. `waits`: for a slot
        that is on its way to another node of a cluster, or nobody's."""
        return self._threads.batch(commands, waits=waits)

    @asynccontextmanager
    async def waiting_once(self) -> AsyncIterator[None]:
        """For coroutines that do as threads: calls in the block are not made while this Redis is known to be silent.

        Raises StoreNotAsked then; a silence that is met here becomes known.
        """
        self._threads.outage.require_none()
        began = time.monotonic()
        try:
            yield
        except StoreSilent:
            self._threads.outage.silent(time.monotonic() - began, self.timeout)
            raise

    @property
    def held_for(self) -> StoreRefused | None:
        """In a cluster, what calls of this loop are answered that wait for their slot: ASK, TRYAGAIN or CLUSTERDOWN.
        None while none waits."""
        link = self._links.get(asyncio.get_running_loop())
        return None if link is None else link.held_for

    @property
    def silent(self) -> bool:
        """Whether threads know that this Redis does not answer, and do not ask it."""
        return self._threads.outage.known

    async def close(self) -> None:
        """Close this loop's connections and the synchronous ones."""
        self._current = None
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link is not None:
            if (behind := guide_of(self.url)) is not None:
                behind.leave(link)
            await link.close()
        for connection in self._beside:
            await connection.disconnect(nowait=True)
        self.close_sync()

    def close_sync(self) -> None:
        """Close the connections of threads."""
        self._threads.close()

    def beside(self) -> AbstractConnection:
        """A connection beside the shared one, for the caller alone, who connects it; `close` ends it."""
        if self._beside_pool is None:
            self._beside_pool = self._async_pool()
        connection: AbstractConnection = self._beside_pool.make_connection()
        self._beside.append(connection)
        return connection

    def _async_pool(self) -> aioredis.ConnectionPool:
        return async_pool(self.url, **options_of(self.timeout, aioredis.retry.Retry(NoBackoff(), 0)))

    def __repr__(self) -> str:
        return f"<Shard {self.index}>"


class Store:
    """All shards: those of a list, or the virtual ones of a cluster. The hash over a list is the channel layer's own,
    so keys live where their group's messages go; in a cluster a placement says its shard."""

    def __init__(self, urls: Sequence[str], timeout: float = TIMEOUT) -> None:
        self.urls = expanded(urls)
        self._virtual = of_cluster(urls)
        self.layout = Layout(self.urls, self._virtual)
        self.shards = [
            Shard(
                index,
                url,
                timeout,
                Partitions(None, index, self._virtual),
                wait_once=True,
                place=None if url == MEMORY else self.layout.places[index],
            )
            for index, url in enumerate(self.urls)
        ]

    @property
    def first(self) -> Shard:
        """The shard for what belongs to the cluster as a whole."""
        return self.shards[0]

    def shard_for(self, placement: Placement) -> Shard:
        """The shard of a name."""
        if len(self.shards) == 1:
            return self.shards[0]
        if self._virtual:
            return self.shards[cast(SlotPlacement, placement).shard]
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
        await asyncio.to_thread(self.layout.leave)


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
