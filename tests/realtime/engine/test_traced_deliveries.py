"""Publications that are traced, over a real Redis: from the script to the writes of each process, whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest
from opentelemetry import trace

from flotilla.realtime import traces
from flotilla.realtime.conf import ChannelOptions, get_config
from flotilla.realtime.engine import envelope, traced_deliveries
from flotilla.spans import RecordedSpan
from flotilla.store import placement_of
from flotilla.store.announcing import is_sharded
from flotilla.store.pools import sync_client
from flotilla.store.slots import key_slot
from flotilla.store.urls import in_slot
from tests.realtime.engine.processes import OPTIONS, Make, Process, drop, expect
from tests.realtime.seen_spans import TRACEPARENT, Seen, about, itself, parent_of
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

ROOM = "chat:room"
END = envelope.beat(0, 0)  # of what is overheard: hubs do not mind it


@pytest.fixture
def seen(settings: Any) -> Seen:
    """Nothing is sampled by chance."""
    made = Seen()
    settings.REALTIME = {
        "namespaces": {"chat": {}},
        "tracing": True,
        "tracing_ratio": 0,
        "tracing_provider": made,
    }
    get_config.reset()
    return made


@pytest.fixture(autouse=True)
def _as_before() -> Any:
    yield
    get_config.reset()


def sampled() -> RecordedSpan:
    """What a caller's request is."""
    span = traces.begin("api publish", caller={"traceparent": TRACEPARENT})
    assert span is not None
    return span


async def publish(process: Process, options: ChannelOptions = OPTIONS) -> int:
    return await process.publish(channel=ROOM, options=options)


async def clocks_known(*processes: Process) -> None:
    """Each knows how far Redis's clock is from its own."""
    for process in processes:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        shard = process.store.shard_for(placement_of(ROOM))
        seconds, micros = await shard.execute("TIME")
        process.hub.stats.clocks.note(shard.index, asked, int(seconds) + int(micros) * 1e-6, loop.time())


@asynccontextmanager
async def overheard(redis: RedisProcess) -> AsyncIterator[list[bytes]]:
    """The messages of the channel as they go through Redis."""
    topic = placement_of(ROOM).topic
    client = sync_client(in_slot(redis.url, key_slot(topic)), protocol=2)
    pubsub, sharded = client.pubsub(), is_sharded(topic)
    heard: list[bytes] = []

    def hear() -> None:
        while (said := pubsub.get_message(timeout=20)) is not None and said["data"] != END:
            if said["type"] in ("message", "smessage"):
                heard.append(said["data"])

    (pubsub.ssubscribe if sharded else pubsub.subscribe)(topic)
    hearing = asyncio.create_task(asyncio.to_thread(hear))
    try:
        await until(
            lambda: dict((client.pubsub_shardnumsub if sharded else client.pubsub_numsub)(topic))[topic.encode()] > 0
        )
        yield heard
    finally:
        await asyncio.to_thread(client.execute_command, "SPUBLISH" if sharded else "PUBLISH", topic, END)
        await hearing
        pubsub.close()
        client.close()


@pytest.mark.parametrize("options", [OPTIONS, ChannelOptions()], ids=["history", "none"])
async def test_a_trace_goes_on_in_every_process(make: Make, seen: Seen, options: ChannelOptions) -> None:
    """From the script's span; each says what it was given, and how long that took."""
    one, two = await make(), await make()
    subscribers = [(await process.subscribe(ROOM, options))[0] for process in (one, two, two)]
    await clocks_known(one, two)
    with sampled().entered() as span:
        offset = await publish(one, options)
    await until(lambda: len(seen.named("deliver")) == 2)
    await until(lambda: all(len(client.pushes) == 1 for client in subscribers))
    script = await seen.one("redis publish")
    assert parent_of(script) == itself(await seen.one("api publish"))
    assert script.kind is trace.SpanKind.PRODUCER
    assert about(script) == {"namespace": "chat", "offset": offset}
    assert {parent_of(made) for made in seen.named("deliver")} == {itself(script)}
    assert sorted(about(made)["receivers"] for made in seen.named("deliver")) == [1, 2]
    for made in seen.named("deliver"):
        said = about(made)
        assert (said["namespace"], said["offset"], said["together"]) == ("chat", offset, 1)
        assert said["lag"] >= 0
        assert "channel" not in said
        assert made.kind is trace.SpanKind.CONSUMER
        parts = [part for part in seen.spans if part.parent and parent_of(part) == itself(made)]
        assert [part.name for part in parts] == ["pub/sub", "fan-out"]
        assert parts[0].start_time == made.start_time
        assert parts[1].end_time == made.end_time
    assert span.trace_id == itself(script)[0]


async def test_what_is_not_sampled_carries_nothing(make: Make, seen: Seen, redis_process: RedisProcess) -> None:
    """In Redis: neither what is announced nor what is kept has a byte more than without tracing."""
    one = await make()
    client, _, _ = await one.subscribe(ROOM)
    async with overheard(redis_process) as heard:
        await publish(one)
        with sampled().entered():
            await publish(one)
        await until(expect(client, 1, 2))
        await until(lambda: len(heard) >= 2)
    plain, traced = (msgpack.unpackb(message) for message in heard if envelope.PUBLICATION.encode() in message)
    assert plain.keys() == {"type", "c", "d", "e", "o", "t", "n"}
    assert heard[0].startswith(envelope.publication_head(ROOM) + envelope.bin_head(10) + b'{"data":1}')
    assert traced.keys() == plain.keys() | {"w"}
    assert traced["w"].keys() == {"traceparent"}
    kept = redis_process.ask("XRANGE", placement_of(ROOM).key("stream"), "-", "+")
    assert [fields for _, fields in kept] == [{b"d": b'{"data":1}'}] * 2
    await seen.one("deliver")


async def test_a_traced_publication_that_must_wait_for_another_says_so(make: Make, seen: Seen) -> None:
    """Its span lasts until it has come from history."""
    one = await make()
    client, _, _ = await one.subscribe(ROOM)
    dropped = drop(one, 1)
    await publish(one)
    await until(lambda: dropped == [1])
    with sampled().entered():
        await publish(one)
    await until(expect(client, 1, 2))
    made = await seen.one("deliver")
    assert about(made)["receivers"] == 1
    assert {"refill"} == {part.name for part in seen.spans if part.parent and parent_of(part) == itself(made)}


async def test_a_traced_publication_that_is_lost_says_so(make: Make, seen: Seen, redis_process: RedisProcess) -> None:
    one = await make()
    client, _, _ = await one.subscribe(ROOM)
    dropped = drop(one, 1)
    await publish(one)
    await until(lambda: dropped == [1])
    redis_process.ask("DEL", placement_of(ROOM).key("stream"))
    with sampled().entered():
        await publish(one)
    await until(lambda: bool(client.lost))
    made = await seen.one("deliver")
    assert made.status.description == "history no longer had what was missing"


async def test_what_nobody_here_is_given_has_no_span(make: Make, seen: Seen) -> None:
    """A process without subscribers, and a publication that came by history before it was announced."""
    one, two = await make(), await make()
    client, _, _ = await one.subscribe(ROOM)
    with sampled().entered():
        await publish(two)
    await until(expect(client, 1, 1))
    await seen.one("deliver")
    again = envelope.publication_head(ROOM, {"traceparent": TRACEPARENT}) + envelope.bin_head(10) + b'{"data":1}'
    position = one.hub.channels[ROOM].position
    tail = b"\xa1e" + msgpack.packb(position.epoch) + b"\xa1o\x01\xa1t\x00\xa1n\x00"
    one.hub._receive([again + tail])
    assert len(seen.named("deliver")) == 1


@pytest.mark.parametrize(
    "trace", ["text", 7, [], {}, {"traceparent": 7}, {"traceparent": "00"}, {"traceparent": None}, None]
)
async def test_a_trace_that_cannot_be_read_costs_no_delivery(make: Make, seen: Seen, trace: Any) -> None:
    """As of a later release, or of a mistake in one."""
    one = await make()
    client, _, _ = await one.subscribe(ROOM)
    await publish(one)
    await until(expect(client, 1, 1))
    epoch = one.hub.channels[ROOM].position.epoch
    message = {"type": "pub", "w": trace, "c": ROOM, "d": b'{"data":2}', "e": epoch, "o": 2, "t": 0, "n": 0}
    one.hub._receive([msgpack.packb(message)])
    assert client.offsets == [1, 2]
    assert not seen.named("deliver")


async def test_deliveries_that_are_looked_for_are_bounded(
    make: Make, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While history does not answer, the oldest are given up."""
    monkeypatch.setattr(traced_deliveries, "MAX_OPEN", 3)
    one = await make()
    client, _, _ = await one.subscribe(ROOM)
    dropped = drop(one, 1)
    may = asyncio.Event()
    inner = one.broker.history

    async def late(*arguments: Any, **keywords: Any) -> Any:
        await may.wait()
        return await inner(*arguments, **keywords)

    monkeypatch.setattr(one.broker, "history", late)
    await publish(one)
    await until(lambda: dropped == [1])
    for _ in range(5):
        with sampled().entered():
            await publish(one)
    await until(lambda: len(seen.named("deliver")) == 2)
    assert {made.status.description for made in seen.spans if made.name == "deliver"} == {
        "not delivered while it was looked for"
    }
    may.set()
    await until(expect(client, 1, 6))
    await until(lambda: len(seen.named("deliver")) == 5)


async def test_a_thread_publishes_as_a_coroutine_does(make: Make, seen: Seen) -> None:
    one = await make()
    client, _, _ = await one.subscribe(ROOM)

    def work() -> None:
        with sampled().entered():
            one.broker.publish_sync(ROOM, b'{"data":1}', OPTIONS)

    await asyncio.to_thread(work)
    await until(expect(client, 1, 1))
    made = await seen.one("deliver")
    assert parent_of(made) == itself(await seen.one("redis publish"))


async def test_a_publication_that_fails_is_an_error_of_its_span(make: Make, seen: Seen) -> None:
    one = await make()
    await one.store.first.execute("SET", placement_of(ROOM).key("meta"), "no hash")
    with pytest.raises(Exception, match="WRONGTYPE"), sampled().entered():
        await publish(one)
    script = await seen.one("redis publish")
    assert script.status.description == "StoreRefused"
    assert (await seen.one("api publish")).status.description == "StoreRefused"


async def test_channels_are_named_where_the_settings_say_so(make: Make, seen: Seen, settings: Any) -> None:
    settings.REALTIME = {**settings.REALTIME, "tracing_channels": True}
    get_config.reset()
    one = await make()
    client, _, _ = await one.subscribe(ROOM)
    with sampled().entered():
        await publish(one)
    await until(expect(client, 1, 1))
    assert about(await seen.one("deliver"))["channel"] == ROOM
