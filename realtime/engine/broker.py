"""The broker: publishing, history, and the way into the channel layer.

Of whatever Redis answers it notes how far the channel's partition was, so that a Redis that comes back older than it
was is noticed before offsets are given out twice (`flotilla.store.partitions`).
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Unpack
from weakref import WeakKeyDictionary

from flotilla import tracing
from flotilla.realtime import traces
from flotilla.realtime.engine import calls
from flotilla.realtime.engine.calls import Call, HistoryKeywords, Placed, PublishKeywords, StreamOptions
from flotilla.realtime.engine.publication import Page, StreamPosition
from flotilla.realtime.engine.publisher import Publisher
from flotilla.store import Shard, Store, StoreRefused, StoreUnavailable, placement_of
from flotilla.store.partitions import Partition
from flotilla.store.waiting import Waiting

MAX_PUBLISHERS = 4096  # channels, of about a kilobyte each, for which clients' publications are prepared
SCRIPT = "redis publish"  # the span of the script that appends and announces


class Broker:
    """Publishes and reads for coroutines (`publish`, …) and threads (`publish_sync`, …).

    Every method raises StoreUnavailable when Redis does not answer; a publish may then have happened or not.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._publishers: dict[str, Publisher] = {}
        self.on_position: Callable[[str, StreamPosition], None] | None = None
        """Told where a channel's stream stands, in the event loop, whenever Redis has said so."""

    def partition(self, channel: str) -> Partition | None:
        """What this process knows of the partition in which a channel lives."""
        placement = placement_of(channel)
        partitions, number = self.store.shard_for(placement).partitions, placement.partition
        return None if partitions is None or number is None else partitions[number]

    async def publish(
        self, channel: str, body: bytes, options: StreamOptions, **keywords: Unpack[PublishKeywords]
    ) -> StreamPosition:
        """Append a publication (`body`: its JSON object without offset) and announce it; returns its position.

        Keywords of this and what follows are those of `calls.publish`.
        """
        return self.published(channel, await self.start_publish(channel, body, options, **keywords))

    def start_publish(
        self, channel: str, body: bytes, options: StreamOptions, **keywords: Unpack[PublishKeywords]
    ) -> "asyncio.Future[Any]":
        """Send a publication off at once, in the order of calls; the answer, which is for `published`, comes later."""
        span = tracing.current()
        if span is not None:
            return self._start_traced(span, channel, body, options, keywords)
        call = calls.publish(channel, body, options, **keywords)
        return self.store.shard_for(call.placement).start(call.script, call.keys, call.args)

    def publisher(self, channel: str, options: StreamOptions) -> Publisher:
        """What is prepared of a channel's publications, for `send`."""
        publisher = self._publishers.get(channel)
        if publisher is None or publisher.options is not options:
            publisher = Publisher(self.store, channel, options, self.partition(channel))
            if len(self._publishers) >= MAX_PUBLISHERS:
                del self._publishers[next(iter(self._publishers))]
            self._publishers[channel] = publisher
        return publisher

    def send(self, publisher: Publisher, body: bytes, waiting: Waiting) -> None:
        """Send a publication off at once, in the order of calls; the answer that `waiting` gets is for `answered`."""
        if tracing.current() is None:
            publisher.send(body, waiting)
        else:
            answer = self.start_publish(publisher.channel, body, publisher.options)
            answer.add_done_callback(partial(_pass_on, waiting))

    def published(self, channel: str, answer: Any) -> StreamPosition:
        """The position of a publication. Raises StoreUnavailable for an answer that cannot be read."""
        position, count = calls.read_publish(answer)
        self._heard(channel, position, count, self.partition(channel))
        return position

    def answered(self, publisher: Publisher, answer: Any) -> None:
        """As `published`, for a publication that a publisher sent."""
        position, count = calls.read_publish(answer)
        self._heard(publisher.channel, position, count, publisher.partition)

    def publish_sync(
        self, channel: str, body: bytes, options: StreamOptions, **keywords: Unpack[PublishKeywords]
    ) -> StreamPosition:
        """`publish` for threads."""
        span = tracing.current()
        if span is None:
            return self._publish_sync(channel, body, options, keywords)
        with span.child(SCRIPT, traces.about(channel), sends=True).entered() as part:
            keywords["trace"] = part.headers
            position = self._publish_sync(channel, body, options, keywords)
            part.note(offset=position.offset)
        return position

    def _publish_sync(
        self, channel: str, body: bytes, options: StreamOptions, keywords: PublishKeywords
    ) -> StreamPosition:
        position, count = calls.read_publish(self._run_sync(calls.publish(channel, body, options, **keywords)))
        self._count(self.partition(channel), position.epoch, count)
        return position

    def publish_rows_sync(self, shard: Shard, rows: Sequence[tuple[str, Call]]) -> list[Placed | StoreRefused]:
        """Send rows of the outbox to one Redis, in one round trip: channels, and calls of `calls.publish_row`. An error
        stands for each one that Redis refused."""
        replies = shard.run_many_sync([(call.script, call.keys, call.args) for _, call in rows])
        return [
            reply if isinstance(reply, StoreRefused) else self._placed(channel, reply)
            for (channel, _), reply in zip(rows, replies, strict=True)
        ]

    def _placed(self, channel: str, reply: list[Any]) -> Placed:
        placed = calls.read_row(reply)
        self._count(self.partition(channel), placed.epoch, placed.of_partition)
        return placed

    async def history(self, channel: str, options: StreamOptions, **keywords: Unpack[HistoryKeywords]) -> Page:
        """A page of history; keywords as those of `calls.history`."""
        page, count = calls.read_history(await self._run(calls.history(channel, options, **keywords)))
        self._heard(channel, page.top, count, self.partition(channel))
        return page

    def history_sync(self, channel: str, options: StreamOptions, **keywords: Unpack[HistoryKeywords]) -> Page:
        """`history` for threads."""
        page, count = calls.read_history(self._run_sync(calls.history(channel, options, **keywords)))
        self._count(self.partition(channel), page.top.epoch, count)
        return page

    async def confirm(self, channel: str, nonce: str, options: StreamOptions) -> None:
        """Send a nonce through the channel's group; it comes back with the stream's position."""
        await self._run(calls.confirm(channel, nonce, options))

    async def forget(self, channel: str) -> None:
        """Remove a channel's publications; its position stays."""
        await self.store.shard_for(placement_of(channel)).execute("DEL", calls.forget(channel))

    def forget_sync(self, channel: str) -> None:
        """`forget` for threads."""
        self.store.shard_for(placement_of(channel)).execute_sync("DEL", calls.forget(channel))

    def heard(self, channel: str, position: StreamPosition, count: int) -> None:
        """In the event loop: a channel's stream is at this position, and its partition has counted so far."""
        self._heard(channel, position, count, self.partition(channel))

    def counted(self, channel: str, position: StreamPosition, count: int) -> None:
        """`heard` for threads."""
        self._count(self.partition(channel), position.epoch, count)

    def _heard(self, channel: str, position: StreamPosition, count: int, partition: Partition | None) -> None:
        self._count(partition, position.epoch, count)
        if position.epoch and self.on_position is not None:
            self.on_position(channel, position)

    def _count(self, partition: Partition | None, epoch: str, count: int) -> None:
        if count and partition is not None:
            partition.note(epoch, count)

    def _start_traced(
        self, span: tracing.Span, channel: str, body: bytes, options: StreamOptions, keywords: PublishKeywords
    ) -> "asyncio.Future[Any]":
        """A part of what is traced: from here to Redis's answer; whoever receives the publication goes on from it."""
        part = span.child(SCRIPT, traces.about(channel), sends=True)
        keywords["trace"] = part.headers
        try:
            call = calls.publish(channel, body, options, **keywords)
            answer = self.store.shard_for(call.placement).start(call.script, call.keys, call.args)
        except BaseException as error:
            part.fail(type(error).__name__)
            part.end()
            raise
        answer.add_done_callback(partial(_end_traced, part))
        return answer

    async def _run(self, call: Call) -> Any:
        return await self.store.shard_for(call.placement).run(call.script, call.keys, call.args)

    def _run_sync(self, call: Call) -> Any:
        return self.store.shard_for(call.placement).run_sync(call.script, call.keys, call.args)


def _pass_on(waiting: Waiting, answer: "asyncio.Future[Any]") -> None:
    error = StoreUnavailable("given up") if answer.cancelled() else answer.exception()
    if waiting.done():
        return
    if error is None:
        waiting.set_result(answer.result())
    else:
        waiting.set_exception(error if isinstance(error, StoreUnavailable) else StoreUnavailable(repr(error)))


def _end_traced(span: tracing.Span, answer: "asyncio.Future[Any]") -> None:
    """Redis has answered, or nobody waits for it any more."""
    if answer.cancelled():
        span.fail("given up")
    elif error := answer.exception():
        span.fail(type(error).__name__)
    else:
        with suppress(StoreUnavailable):  # whoever asked is told of an answer that cannot be read
            span.note(offset=calls.read_publish(answer.result())[0].offset)
    span.end()


_brokers: WeakKeyDictionary[Store, Broker] = WeakKeyDictionary()


def get_broker(store: Store) -> Broker:
    """The broker over a store: one, so that what any part of the process has seen is known to all."""
    broker = _brokers.get(store)
    if broker is None:
        broker = _brokers[store] = Broker(store)
    return broker
