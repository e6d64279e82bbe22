"""The broker: publishing, history, and the way into the channel layer.

It remembers the highest position this process has seen of each channel and hands it to every script, so that a Redis
that came back older than it was is noticed before offsets are given out twice.
"""

import asyncio
from collections import OrderedDict
from typing import Any
from weakref import WeakKeyDictionary

from realtime.engine import calls
from realtime.engine.calls import NOWHERE, Call, StreamOptions
from realtime.engine.publication import Page, StreamPosition
from store import Store, place

REMEMBERED_POSITIONS = 50_000


class Seen:
    """The highest positions seen, of the channels used last. Safe to use from several threads."""

    def __init__(self, size: int = REMEMBERED_POSITIONS) -> None:
        self._size = size
        self._positions: OrderedDict[str, StreamPosition] = OrderedDict()

    def get(self, channel: str) -> StreamPosition:
        """The highest known position of a channel, (“”, 0) when none is known."""
        return self._positions.get(channel, NOWHERE)

    def note(self, channel: str, position: StreamPosition) -> None:
        """A position was seen. Another epoch replaces the old one: only Redis gives out epochs."""
        if not position.epoch:
            return
        known = self._positions.get(channel)
        if known is None or known.epoch != position.epoch or known.offset < position.offset:
            self._positions[channel] = position
            if len(self._positions) > self._size:
                self._positions.popitem(last=False)


class Broker:
    """Publishes and reads for coroutines (`publish`, …) and threads (`publish_sync`, …).

    Every method raises StoreUnavailable when Redis does not answer; a publish may then have happened or not.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.seen = Seen()

    async def publish(
        self,
        channel: str,
        body: bytes,
        options: StreamOptions,
        *,
        idempotency_key: str = "",
        skip_history: bool = False,
        version: int = 0,
        version_epoch: str = "",
    ) -> StreamPosition:
        """Append a publication (`body`: its JSON object without offset) and announce it; returns where it stands."""
        once = (idempotency_key, skip_history, version, version_epoch)
        return await self._published(channel, self.start_publish(channel, body, options, *once))

    def start_publish(
        self,
        channel: str,
        body: bytes,
        options: StreamOptions,
        idempotency_key: str = "",
        skip_history: bool = False,
        version: int = 0,
        version_epoch: str = "",
    ) -> "asyncio.Future[Any]":
        """Send a publication off at once, in the order of calls; the raw answer comes later."""
        call = calls.publish(
            channel,
            body,
            options,
            self.seen.get(channel),
            idempotency_key=idempotency_key,
            skip_history=skip_history,
            version=version,
            version_epoch=version_epoch,
        )
        shard = self.store.shard_for(call.placement)
        return shard.start(call.script, call.keys, call.args)

    async def _published(self, channel: str, answer: "asyncio.Future[Any]") -> StreamPosition:
        position = calls.read_publish(await answer)
        self.seen.note(channel, position)
        return position

    def publish_sync(
        self,
        channel: str,
        body: bytes,
        options: StreamOptions,
        *,
        idempotency_key: str = "",
        skip_history: bool = False,
        version: int = 0,
        version_epoch: str = "",
    ) -> StreamPosition:
        """`publish` for threads."""
        seen = self.seen.get(channel)
        call = calls.publish(
            channel,
            body,
            options,
            seen,
            idempotency_key=idempotency_key,
            skip_history=skip_history,
            version=version,
            version_epoch=version_epoch,
        )
        position = calls.read_publish(self._run_sync(call))
        self.seen.note(channel, position)
        return position

    async def history(self, channel: str, options: StreamOptions, **wanted: Any) -> Page:
        """A page of history; `wanted` as in `calls.history`."""
        page = calls.read_history(await self._run(calls.history(channel, options, self.seen.get(channel), **wanted)))
        self.seen.note(channel, page.top)
        return page

    def history_sync(self, channel: str, options: StreamOptions, **wanted: Any) -> Page:
        """`history` for threads."""
        return calls.read_history(self._run_sync(calls.history(channel, options, self.seen.get(channel), **wanted)))

    async def confirm(self, channel: str, nonce: str, options: StreamOptions) -> None:
        """Send a nonce through the channel's group; it comes back with the stream's position."""
        await self._run(calls.confirm(channel, nonce, options, self.seen.get(channel)))

    async def forget(self, channel: str) -> None:
        """Remove a channel's publications; its position stays."""
        await self.store.shard_for(place(channel)).execute("DEL", calls.forget(channel))

    def forget_sync(self, channel: str) -> None:
        """`forget` for threads."""
        self.store.shard_for(place(channel)).execute_sync("DEL", calls.forget(channel))

    async def _run(self, call: Call) -> Any:
        return await self.store.shard_for(call.placement).run(call.script, call.keys, call.args)

    def _run_sync(self, call: Call) -> Any:
        return self.store.shard_for(call.placement).run_sync(call.script, call.keys, call.args)


_brokers: WeakKeyDictionary[Store, Broker] = WeakKeyDictionary()


def get_broker(store: Store) -> Broker:
    """The broker over a store: one, so that what any part of the process has seen is known to all."""
    broker = _brokers.get(store)
    if broker is None:
        broker = _brokers[store] = Broker(store)
    return broker
