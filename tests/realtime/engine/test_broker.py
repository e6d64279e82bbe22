"""The scripts on a real Redis: order, atomicity, bounds, lifetimes, and a Redis that came back older than it was."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import msgpack
import pytest
import pytest_asyncio
import redis.asyncio as aioredis

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.broker import Broker, _pass_on
from flotilla.realtime.engine.publication import Page, StreamPosition
from flotilla.realtime.engine.recovery import recover
from flotilla.store import Store, StoreUnavailable, placement_of
from flotilla.store.pools import async_pool
from flotilla.store.slots import key_slot
from flotilla.store.urls import in_slot
from tests.store.places import STORES_OWN
from tests.store.redis_process import RedisProcess, until
from tests.waiting import PATIENCE

pytestmark = pytest.mark.asyncio

OPTIONS = ChannelOptions(history_size=100, history_ttl=60, history_meta_ttl=7200)
NONE = ChannelOptions()
ROOM = "room"
META, STREAM = placement_of(ROOM).key("meta"), placement_of(ROOM).key("stream")


@pytest.fixture
def broker(store: Store) -> Broker:
    return Broker(store)


@dataclass
class Ear:
    """Hears what is announced in the room."""

    pubsub: "aioredis.client.PubSub"

    async def heard(self, count: int) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < count:
                message = await self.pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
                if message is not None:
                    found.append(msgpack.unpackb(message["data"]))
        return found


@pytest_asyncio.fixture
async def ear(redis_url: str) -> AsyncIterator[Ear]:
    topic = placement_of(ROOM).topic
    client = aioredis.Redis(connection_pool=async_pool(in_slot(redis_url, key_slot(topic))))
    pubsub = client.pubsub()
    await (pubsub.ssubscribe if "{" in topic else pubsub.subscribe)(topic)
    assert await pubsub.get_message(timeout=PATIENCE)
    yield Ear(pubsub)
    await pubsub.aclose()
    await client.aclose()


def keys_of_names(redis_process: RedisProcess) -> list[bytes]:
    """Everything in Redis but the partitions themselves."""
    return [key for key in redis_process.ask("KEYS", "*") if not key.startswith(STORES_OWN)]


def offsets(page: Page) -> list[int]:
    return [publication.offset for publication in page.publications]


async def publish(broker: Broker, count: int, options: ChannelOptions = OPTIONS) -> StreamPosition:
    position = StreamPosition("", 0)
    for number in range(count):
        position = await broker.publish(ROOM, b'{"data":%d}' % number, options)
    return position


class TestPublishing:
    async def test_history_and_announcements_have_one_order(self, redis_url: str, broker: Broker, ear: Ear) -> None:
        """Two publishers at once: offsets without gap, the same bodies at the same offsets in both."""
        other_store = Store([redis_url])
        other = Broker(other_store)
        bodies = [b'{"data":"%d"}' % number for number in range(100)]
        places = await asyncio.gather(
            *((broker, other)[number % 2].publish(ROOM, body, OPTIONS) for number, body in enumerate(bodies))
        )
        assert sorted(place.offset for place in places) == list(range(1, 101))
        heard = await ear.heard(100)
        assert [message["o"] for message in heard] == list(range(1, 101))
        page = await broker.history(ROOM, OPTIONS, limit=-1)
        assert [one.body for one in page.publications] == [message["d"] for message in heard]
        by_offset = {one.offset: one.body for one in page.publications}
        assert [by_offset[place.offset] for place in places] == bodies
        await other_store.close()

    async def test_one_publishers_calls_keep_their_order(self, broker: Broker) -> None:
        """What is sent off first stands first, without waiting in between."""
        calls = [broker.start_publish(ROOM, b"%d" % number, OPTIONS) for number in range(50)]
        await asyncio.gather(*calls)
        page = await broker.history(ROOM, OPTIONS, limit=-1)
        assert [int(one.body) for one in page.publications] == list(range(50))

    @pytest.mark.parametrize(
        "body",
        [
            b'{"data":"' + bytes(range(0x20, 0x7F)).replace(b'"', b"").replace(b"\\", b"") + b'"}',
            '{"data":"\u0000\u0080\u07ff\uffff\U0010ffff é"}'.encode(),
            b'{"data":"' + b"x" * 65536 + b'"}',
            b"\x00\xff\xc4\xdb",
            b"",
        ],
    )
    async def test_payloads_arrive_byte_for_byte(self, broker: Broker, ear: Ear, body: bytes) -> None:
        """Through the layer and through history, as bytes."""
        await broker.publish(ROOM, body, OPTIONS)
        (heard,) = await ear.heard(1)
        assert heard["d"] == body
        assert (await broker.history(ROOM, OPTIONS, limit=1)).publications[0].body == body

    async def test_an_announcement_is_complete(self, broker: Broker, ear: Ear) -> None:
        """Channel, body, epoch and offset as the publisher was told, and Redis's own time."""
        position = await broker.publish(ROOM, b"{}", OPTIONS)
        seconds, micros = await broker.store.first.execute("TIME")
        [message] = await ear.heard(1)
        assert 0 <= int(seconds) * 1_000_000 + int(micros) - message.pop("t") < 60_000_000
        assert message == {"type": "pub", "c": ROOM, "d": b"{}", "e": position.epoch, "o": 1, "n": 1}

    async def test_large_offsets_survive(self, redis_process: RedisProcess, broker: Broker, ear: Ear) -> None:
        """Neither Lua's numbers nor msgpack round them."""
        first = await broker.publish(ROOM, b"{}", OPTIONS)
        top = 2**53 - 10
        redis_process.ask("HSET", META, "t", top)
        assert await broker.publish(ROOM, b"{}", OPTIONS) == StreamPosition(first.epoch, top + 1)
        assert [message["o"] for message in await ear.heard(2)] == [1, top + 1]
        assert offsets(await broker.history(ROOM, OPTIONS, limit=-1)) == [top + 1]  # the first is not of the newest ten

    @pytest.mark.parametrize("skip", [True, False])
    async def test_without_history_nothing_is_kept(
        self, redis_process: RedisProcess, broker: Broker, ear: Ear, skip: bool
    ) -> None:
        """Announced with offset 0, and no key is touched."""
        position = await broker.publish(ROOM, b"{}", OPTIONS if skip else NONE, skip_history=skip)
        assert position == StreamPosition("", 0)
        (heard,) = await ear.heard(1)
        assert (heard["o"], heard["e"]) == (0, "")
        assert keys_of_names(redis_process) == []

    async def test_skipping_history_leaves_the_stream_alone(self, broker: Broker) -> None:
        """The next publication has the next offset."""
        await broker.publish(ROOM, b"1", OPTIONS)
        await broker.publish(ROOM, b"-", OPTIONS, skip_history=True)
        assert (await broker.publish(ROOM, b"2", OPTIONS)).offset == 2

    async def test_threads_publish_the_same_way(self, broker: Broker) -> None:
        """The synchronous twins read and write the same stream."""
        first = await broker.publish(ROOM, b"1", OPTIONS)
        second = await asyncio.to_thread(broker.publish_sync, ROOM, b"2", OPTIONS)
        assert second == StreamPosition(first.epoch, 2)
        page = await asyncio.to_thread(broker.history_sync, ROOM, OPTIONS, limit=-1)
        assert [one.body for one in page.publications] == [b"1", b"2"]
        await asyncio.to_thread(broker.forget_sync, ROOM)
        assert await broker.history(ROOM, OPTIONS, limit=-1) == Page(second)

    async def test_a_redis_that_is_away_is_said(self, mortal_redis: RedisProcess) -> None:
        """Every method raises StoreUnavailable."""
        store = Store([mortal_redis.url], timeout=0.5)
        broker = Broker(store)
        mortal_redis.kill()
        for work in (
            broker.publish(ROOM, b"{}", OPTIONS),
            broker.history(ROOM, OPTIONS),
            broker.confirm(ROOM, "nonce", OPTIONS),
            broker.forget(ROOM),
        ):
            with pytest.raises(StoreUnavailable):
                await work
        await store.close()


class TestIdempotency:
    @pytest.mark.parametrize("options", [OPTIONS, NONE])
    async def test_a_repeat_publishes_nothing(self, broker: Broker, ear: Ear, options: ChannelOptions) -> None:
        """It is answered with the first one's place, with and without history, also when sent side by side."""
        calls = (broker.publish(ROOM, b"%d" % n, options, idempotency_key="key") for n in range(10))
        assert len(set(await asyncio.gather(*calls))) == 1
        await broker.publish(ROOM, b"last", options, idempotency_key="other")
        assert [message["d"] for message in await ear.heard(2)] == [b"0", b"last"]

    async def test_a_repeat_elsewhere_is_known(self, redis_url: str, broker: Broker) -> None:
        """The memory is in Redis; a repeat after more publications returns the old place."""
        first = await broker.publish(ROOM, b"1", OPTIONS, idempotency_key="key")
        await publish(broker, 3)
        store = Store([redis_url])
        assert await Broker(store).publish(ROOM, b"1", OPTIONS, idempotency_key="key") == first
        assert (await broker.history(ROOM, OPTIONS)).top.offset == 4
        await store.close()

    async def test_keys_belong_to_a_channel_and_expire(self, redis_process: RedisProcess, broker: Broker) -> None:
        """The same key in another channel is another key; it is remembered for five minutes."""
        await broker.publish(ROOM, b"1", OPTIONS, idempotency_key="key")
        await broker.publish("other", b"1", OPTIONS, idempotency_key="key")
        assert (await broker.history("other", OPTIONS)).top.offset == 1
        (remembered,) = redis_process.ask("KEYS", f"*once*{placement_of(ROOM).tag}*")
        assert 295_000 < redis_process.ask("PTTL", remembered) <= 300_000


class TestHistory:
    async def test_exactly_history_size_are_kept(self, broker: Broker) -> None:
        """Not one more, although Redis would rather trim whole nodes."""
        options = ChannelOptions(history_size=7, history_ttl=60)
        await publish(broker, 250, options)
        page = await broker.history(ROOM, options, limit=-1)
        assert offsets(page) == list(range(244, 251))
        assert page.top.offset == 250

    async def test_pages_forward_and_backward(self, broker: Broker) -> None:
        """Every page size, from every place, both ways; `since` is exclusive."""
        await publish(broker, 10)
        everything = list(range(1, 11))
        for limit in (1, 3, 10, 11, -1):
            count = limit if limit > 0 else None
            assert offsets(await broker.history(ROOM, OPTIONS, limit=limit)) == everything[:count]
            backward = await broker.history(ROOM, OPTIONS, limit=limit, reverse=True)
            assert offsets(backward) == everything[::-1][:count]
            for since in range(12):
                forward = await broker.history(ROOM, OPTIONS, limit=limit, since=since)
                assert offsets(forward) == [o for o in everything if o > since][:count]
                backward = await broker.history(ROOM, OPTIONS, limit=limit, since=since, reverse=True)
                assert offsets(backward) == [o for o in everything[::-1] if o < since][:count]
                assert backward.top.offset == 10

    async def test_a_position_alone_has_no_publications(self, broker: Broker) -> None:
        """Limit 0."""
        position = await publish(broker, 3)
        assert await broker.history(ROOM, OPTIONS, limit=0, since=1) == Page(position)

    async def test_bytes_are_bounded(self, broker: Broker) -> None:
        """Exactly the bound passes; with a byte more a page ends before it, and one that must be whole is empty."""
        for _ in range(4):
            await broker.publish(ROOM, b"x" * 100, OPTIONS)
        page = await broker.history(ROOM, OPTIONS, limit=-1, max_bytes=400, whole=True)
        assert (offsets(page), page.overflow) == ([1, 2, 3, 4], False)
        page = await broker.history(ROOM, OPTIONS, limit=-1, max_bytes=399, whole=True)
        assert (offsets(page), page.overflow, page.top.offset) == ([], True, 4)
        page = await broker.history(ROOM, OPTIONS, limit=-1, since=1, max_bytes=399, whole=True)
        assert (offsets(page), page.overflow) == ([2, 3, 4], False)
        page = await broker.history(ROOM, OPTIONS, limit=-1, max_bytes=399)
        assert (offsets(page), page.overflow) == ([1, 2, 3], True)

    async def test_no_more_is_read_than_the_bytes_allow(self, mortal_redis: RedisProcess) -> None:
        """However long the stream is: what is beyond them would fill Redis's memory, and stop it meanwhile."""
        store = Store([mortal_redis.url])
        broker = Broker(store)
        for _ in range(100):  # 12 MB
            await broker.publish(ROOM, b"x" * 120_000, OPTIONS)
        used = mortal_redis.ask("INFO", "memory")["used_memory"]
        for words in ({}, {"reverse": True}, {"whole": True}, {"since": 20}):
            page = await broker.history(ROOM, OPTIONS, limit=-1, max_bytes=300_000, **words)  # type: ignore[arg-type]
            assert (len(page.publications), page.overflow) == (0 if "whole" in words else 2, True)
        assert mortal_redis.ask("INFO", "memory")["used_memory_peak"] < used + 6_000_000
        await store.close()

    async def test_a_publication_larger_than_a_page_is_a_page(self, broker: Broker) -> None:
        """Or nobody would ever get past it, in either direction."""
        for size in (10, 500, 10):
            await broker.publish(ROOM, b"x" * size, OPTIONS)
        for since, reverse in ((1, False), (3, True)):
            page = await broker.history(ROOM, OPTIONS, limit=-1, since=since, reverse=reverse, max_bytes=100)
            assert (offsets(page), page.overflow) == ([2], True)
        page = await broker.history(ROOM, OPTIONS, since=2, limit=-1, max_bytes=5, whole=True)
        assert (offsets(page), page.overflow) == ([3], False)

    async def test_forgetting_keeps_the_position(self, broker: Broker) -> None:
        """History is empty, offsets go on, the epoch stays."""
        position = await publish(broker, 5)
        await broker.forget(ROOM)
        assert await broker.history(ROOM, OPTIONS, limit=-1) == Page(position)
        assert await broker.publish(ROOM, b"{}", OPTIONS) == StreamPosition(position.epoch, 6)

    async def test_reading_makes_nothing(self, redis_process: RedisProcess, broker: Broker) -> None:
        """Anybody may ask for any name: not a byte stays, and the position holds for the stream that is made next."""
        tops = [(await broker.history(f"name{number}", OPTIONS)).top for number in range(50)]
        await broker.confirm(ROOM, "nonce", OPTIONS)
        assert keys_of_names(redis_process) == []
        assert {top.offset for top in tops} == {0}
        assert await broker.publish("name7", b"{}", OPTIONS) == StreamPosition(tops[7].epoch, 1)
        page = await broker.history("name7", OPTIONS, since=0, limit=10, whole=True)
        assert recover(tops[7], page, 10, OPTIONS.history_meta_ttl).recovered

    async def test_the_era_is_another_when_a_stream_may_have_expired(
        self, redis_process: RedisProcess, broker: Broker
    ) -> None:
        """Of the others in the partition, a position without a stream holds on; a stream keeps its epoch."""
        brief = ChannelOptions(history_size=10, history_ttl=60, history_meta_ttl=0.2)
        top = (await broker.history(ROOM, OPTIONS)).top
        other = next(
            name
            for name in map(str, range(1000))
            if placement_of(name).partition_key("") == placement_of(ROOM).partition_key("")
        )
        first = await broker.publish(other, b"{}", brief)
        await until(lambda: not redis_process.ask("EXISTS", placement_of(other).key("meta")))
        second = await broker.publish(other, b"{}", brief)
        assert (first.offset, second.offset) == (1, 1)
        assert first.epoch != second.epoch
        made = await publish(broker, 2)
        assert made.epoch != top.epoch
        page = await broker.history(ROOM, OPTIONS, since=0, limit=10, whole=True)
        assert recover(top, page, 10, OPTIONS.history_meta_ttl).recovered
        assert (await publish(broker, 1)).epoch == made.epoch

    async def test_a_position_before_the_stream_does_not_hold_for_a_later_one(
        self, redis_process: RedisProcess, broker: Broker
    ) -> None:
        """The stream that was made next is gone, and another made since: what it held is lost for the reader."""
        options = ChannelOptions(history_size=10, history_ttl=0.05, history_meta_ttl=0.05)
        top = (await broker.history(ROOM, options)).top
        await publish(broker, 3, options)
        await until(lambda: not redis_process.ask("EXISTS", META))
        await publish(broker, 1, options)
        page = await broker.history(ROOM, options, since=top.offset, limit=10, whole=True)
        assert not recover(top, page, 10, options.history_meta_ttl).recovered

    async def test_a_stream_made_anew_within_a_moment_has_another_epoch(
        self, redis_process: RedisProcess, broker: Broker
    ) -> None:
        """Also within one millisecond, and when Redis's clock was set back."""
        epochs = set()
        for _ in range(20):
            epochs.add((await broker.publish(ROOM, b"{}", OPTIONS)).epoch)
            redis_process.ask("DEL", META)
        redis_process.ask("HSET", placement_of(ROOM).partition_key("partition"), "s", 2**42)  # ahead of the clock
        for _ in range(3):
            epochs.add((await broker.publish(ROOM, b"{}", OPTIONS)).epoch)
            redis_process.ask("DEL", META)
        assert len(epochs) == 23


class TestLifetimes:
    async def test_the_position_outlives_the_publications(self, redis_process: RedisProcess, broker: Broker) -> None:
        """Each has its own time to live, counted from the last publication; it is renewed once a second at most."""
        await publish(broker, 1)
        assert 55_000 < redis_process.ask("PTTL", STREAM) <= 61_000
        assert 7_190_000 < redis_process.ask("PTTL", META) <= 7_201_000
        redis_process.ask("PEXPIRE", STREAM, 1000)
        redis_process.ask("PEXPIRE", META, 1000)
        await publish(broker, 1)
        assert redis_process.ask("PTTL", STREAM) <= 1000
        redis_process.ask("HINCRBY", META, "r", -1000)
        await publish(broker, 1)
        assert redis_process.ask("PTTL", STREAM) > 55_000
        assert redis_process.ask("PTTL", META) > 7_190_000

    async def test_a_stream_that_was_made_again_has_its_time_at_once(
        self, redis_process: RedisProcess, broker: Broker
    ) -> None:
        """Whoever removed it: no key stays for ever."""
        await publish(broker, 1)
        redis_process.ask("DEL", STREAM)
        await publish(broker, 1)
        assert 55_000 < redis_process.ask("PTTL", STREAM) <= 61_000

    async def test_a_clock_that_was_put_back_holds_no_renewal_up(
        self, redis_process: RedisProcess, broker: Broker
    ) -> None:
        """What was due in the future of another clock is due now."""
        await publish(broker, 1)
        redis_process.ask("HINCRBY", META, "r", 3_600_000)
        redis_process.ask("PEXPIRE", STREAM, 1000)
        await publish(broker, 1)
        assert redis_process.ask("PTTL", STREAM) > 55_000

    async def test_looking_keeps_the_position_alive(self, redis_process: RedisProcess, broker: Broker) -> None:
        """A channel with subscribers is checked, and does not lose its epoch for want of publications."""
        await publish(broker, 1)
        for look in (broker.history(ROOM, OPTIONS), broker.confirm(ROOM, "nonce", OPTIONS)):
            redis_process.ask("PEXPIRE", META, 1000)
            await look
            assert redis_process.ask("PTTL", META) > 7_190_000

    async def test_a_lost_position_takes_the_publications_along(
        self, redis_process: RedisProcess, broker: Broker
    ) -> None:
        """A new epoch never serves publications of the old one."""
        before = await publish(broker, 3)
        redis_process.ask("DEL", META)
        page = await broker.history(ROOM, OPTIONS, limit=-1)
        assert page == Page(StreamPosition(page.top.epoch, 0))
        assert page.top.epoch != before.epoch
        assert not recover(before, page, 10, OPTIONS.history_meta_ttl).recovered
        after = await publish(broker, 1)
        assert after.offset == 1
        assert after.epoch != before.epoch


class TestClaims:
    async def test_what_a_client_claims_destroys_nothing(self, redis_process: RedisProcess, broker: Broker) -> None:
        """Whoever says that he stands above the top is not recovered; everybody else's history stays as it is."""
        top = await publish(broker, 3)
        for since in (4, 10**9, 2**53):
            page = await broker.history(ROOM, OPTIONS, since=since, limit=10, whole=True)
            assert page.top == top
            assert recover(StreamPosition(top.epoch, since), page, 10, 60).reason == "ahead"
        assert offsets(await broker.history(ROOM, OPTIONS, limit=-1)) == [1, 2, 3]

    async def test_others_publish_too(self, redis_url: str, broker: Broker) -> None:
        """A top above what this process knows is no fault."""
        store = Store([redis_url])
        first = await publish(broker, 2)
        await publish(Broker(store), 3)
        assert await publish(broker, 1) == StreamPosition(first.epoch, 6)
        await store.close()


class TestConfirming:
    async def test_the_nonce_carries_the_position(self, broker: Broker, ear: Ear) -> None:
        """What follows it is above the top it carries."""
        top = await publish(broker, 2)
        await broker.confirm(ROOM, "nonce", OPTIONS)
        await publish(broker, 1)
        heard = await ear.heard(4)
        assert heard[2] == {"type": "live", "c": ROOM, "n": "nonce", "e": top.epoch, "o": 2}
        assert heard[3]["o"] == 3

    async def test_without_history_there_is_no_position(
        self, redis_process: RedisProcess, broker: Broker, ear: Ear
    ) -> None:
        """And no key."""
        await broker.confirm(ROOM, "nonce", NONE)
        assert await ear.heard(1) == [{"type": "live", "c": ROOM, "n": "nonce", "e": "", "o": 0}]
        assert keys_of_names(redis_process) == []


@pytest.mark.parametrize("error", [None, StoreUnavailable("away"), TypeError("a list was wanted")])
async def test_who_waits_for_a_traced_publication_hears_of_every_end(error: Exception | None) -> None:
    """None: the call was given up."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[object] = loop.create_future()
    waiting: asyncio.Future[object] = loop.create_future()
    answer.add_done_callback(partial(_pass_on, waiting))
    if error is None:
        answer.cancel()
    else:
        answer.set_exception(error)
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(waiting, PATIENCE)
