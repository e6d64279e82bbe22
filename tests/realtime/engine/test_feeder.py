"""Feeding: what was missed comes in order at the client's pace, and nobody else waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import feeder, pages
from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.engine.pace import MIN
from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.protocol.frames import Frame
from flotilla.store import StoreUnavailable, placement_of
from tests.realtime.engine.processes import OPTIONS, Client, Make, Process, drop
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio
MAX_UNSENT = 1048576  # of the hub
SMALL = ChannelOptions(history_size=20, history_ttl=60, history_meta_ttl=7200)
KILOBYTE = b'{"data":"%s"}' % (b"x" * 1000)


class Reader(Client):
    """A client that reads only when it is told to."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.hub)
        self.max_waiting = 0

    def send(self, frame: Frame) -> None:
        super().send(frame)
        self.waiting += len(frame.payload)
        self.max_waiting = max(self.max_waiting, self.waiting)

    async def read_all(self, done: Callable[[], Any]) -> None:
        """Read what comes until it is so."""

        def look() -> Any:
            self.waiting = 0
            return done()

        await until(look)


@pytest_asyncio.fixture
async def one(make: Make) -> AsyncIterator[Process]:
    yield await make()


async def publish(process: Process, count: int, options: ChannelOptions = OPTIONS, channel: str = "room") -> int:
    position = [await process.broker.publish(channel, KILOBYTE, options) for _ in range(count)][-1]
    return position.offset


async def come_back(
    process: Process, reader: Client, since: int, options: ChannelOptions = OPTIONS, channel: str = "room"
) -> tuple[LocalChannel, Subscription]:
    """Subscribe with everything after `since` missed, as a client does when its reply is out."""
    subscription = Subscription(reader, channel, positioned=True)
    joined = await process.hub.subscribe(subscription, options)
    page = await process.broker.history(channel, options, since=since, limit=-1)
    process.hub.feeder.release(joined, subscription, page.top.offset, page.publications)
    return joined, subscription


def through(client: Client, last: int) -> Callable[[], bool]:
    return lambda: client.offsets == list(range(1, last + 1))


async def turns(count: int = 5) -> None:
    """Let the feeder look a few times."""
    for _ in range(count):
        await asyncio.sleep(feeder.TICK)


class TestPace:
    async def test_only_so_much_waits_for_a_client_that_does_not_read(self, one: Process) -> None:
        """The rest follows as it reads, and then what is live."""
        top = await publish(one, 200)
        reader = Reader(one)
        channel, subscription = await come_back(one, reader, 0)
        await until(lambda: reader.waiting > MIN)
        await turns()
        assert reader.waiting <= MIN + feeder.PIECE
        await reader.read_all(lambda: not channel.feeds)
        assert reader.offsets == list(range(1, top + 1))
        assert subscription in channel.followers
        await publish(one, 1)
        await until(through(reader, top + 1))

    async def test_the_channels_of_one_connection_share_what_may_wait(self, one: Process) -> None:
        """They take turns, and nothing is mixed up."""
        reader = Reader(one)
        names = [f"room-{n}" for n in range(8)]
        for name in names:
            await publish(one, 100, channel=name)
        joined = [(await come_back(one, reader, 0, channel=name))[0] for name in names]
        await until(lambda: reader.waiting > MIN)
        await turns()
        assert reader.waiting <= MIN + feeder.PIECE
        await reader.read_all(lambda: not any(channel.feeds for channel in joined))
        for name in names:
            found = [push["pub"]["offset"] for push in reader.pushes if push["channel"] == name]
            assert found == list(range(1, 101))

    async def test_commands_go_first(self, one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        """For a moment: a client that never stops asking is fed all the same."""
        await publish(one, 3)
        reader = Reader(one)
        reader.busy = True
        await come_back(one, reader, 0)
        await turns()
        assert not reader.pushes
        monkeypatch.setattr(feeder, "QUIET_WITHIN", 0.05)
        await until(through(reader, 3))

    async def test_a_client_that_reads_nothing_is_dropped(self, one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        """When its patience is over; one that reads a little is not."""
        monkeypatch.setattr(feeder, "STALLED", 0.5)
        await publish(one, 200)
        silent, slow = Reader(one), Reader(one)
        await come_back(one, silent, 0)
        await come_back(one, slow, 0)

        def read_a_little() -> bool:
            slow.waiting = max(0, slow.waiting - 10)
            return silent.dropped

        await until(read_a_little)
        assert not slow.dropped


class TestCache:
    async def test_what_is_gone_is_no_loss_where_the_newest_says_it_all(self, one: Process) -> None:
        """The feed ends there, and what follows is given as it comes."""
        options = ChannelOptions(
            history_size=1000, history_ttl=60, history_meta_ttl=7200, force_recovery=True, force_recovery_mode="cache"
        )
        await publish(one, 100, options)
        reader = Reader(one)
        channel, _ = await come_back(one, reader, 0, options)
        top = await publish(one, 700, options)
        await until(lambda: channel.position.offset == top)
        await one.broker.forget("room")
        await reader.read_all(lambda: not channel.feeds)
        assert reader.offsets[-1] < top and not reader.lost
        await publish(one, 1, options)
        await until(lambda: reader.offsets[-1] == top + 1)


class TestMeanwhile:
    async def test_what_is_published_meanwhile_follows(self, one: Process) -> None:
        """Also when it is more than may wait in memory: it is read from history then."""
        await publish(one, 100)
        reader = Reader(one)
        channel, _ = await come_back(one, reader, 0)
        top = await publish(one, 700)
        await until(lambda: channel.position.offset == top)
        (line,) = one.hub.feeder._lines.values()
        assert line.held <= line.max_held
        (feed,) = channel.feeds.values()
        assert feed.behind
        await reader.read_all(lambda: not channel.feeds)
        assert reader.offsets == list(range(1, top + 1))
        assert line.held == 0

    async def test_others_in_the_channel_are_not_held_up(self, one: Process) -> None:
        """They get what is live at once."""
        await publish(one, 100)
        reader = Reader(one)
        channel, _ = await come_back(one, reader, 0)
        other, _, start = await one.subscribe()
        top = await publish(one, 5)
        await until(lambda: other.offsets == list(range(start + 1, top + 1)))
        assert channel.feeds

    async def test_what_has_no_place_in_the_stream_goes_past(self, one: Process) -> None:
        """Joins, leaves and publications without history cannot be read again later."""
        await publish(one, 100)
        reader = Reader(one)
        subscription = Subscription(reader, "room", positioned=True, join_leave=True)
        joined = await one.hub.subscribe(subscription, OPTIONS)
        page = await one.broker.history("room", OPTIONS, since=0, limit=-1)
        one.hub.feeder.release(joined, subscription, page.top.offset, page.publications)
        await until(lambda: reader.waiting > MIN)
        await one.broker.publish("room", b'{"data":"passing"}', OPTIONS, skip_history=True)
        await one.layer.group_send(placement_of("room").group, {"type": "join", "c": "room", "d": b'{"user":"u"}'})
        await until(lambda: any("join" in push for push in reader.pushes))
        assert 0 in reader.offsets
        assert joined.feeds

    async def test_a_client_that_leaves_gets_nothing_more(self, one: Process) -> None:
        """And nothing of it stays in memory."""
        await publish(one, 100)
        reader = Reader(one)
        channel, subscription = await come_back(one, reader, 0)
        await until(lambda: reader.waiting > MIN)
        one.hub.unsubscribe(subscription)
        found = len(reader.pushes)
        assert channel.idle_since is not None
        reader.waiting = 0
        await until(lambda: not one.hub.feeder._lines)
        assert len(reader.pushes) == found

    async def test_who_is_slower_than_history_is_told(self, one: Process) -> None:
        """When memory and history no longer have what follows."""
        await publish(one, 20, SMALL)
        reader = Reader(one)
        reader.waiting = 10**9
        channel, subscription = await come_back(one, reader, 0, SMALL)
        top = await publish(one, 700, SMALL)
        await until(lambda: channel.position.offset == top)
        await reader.read_all(lambda: reader.lost == [subscription])
        assert reader.offsets == list(range(1, len(reader.offsets) + 1))
        assert not channel.feeds

    async def test_an_error_of_redis_ends_no_feed(self, one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is asked again, whatever it said."""
        inner, faults = one.broker.history, [StoreUnavailable("away"), ValueError("something else")]

        async def history(*args: Any, **wanted: Any) -> Any:
            if faults and wanted.get("max_bytes"):
                raise faults.pop()
            return await inner(*args, **wanted)

        monkeypatch.setattr(one.broker, "history", history)
        await publish(one, 100)
        reader = Reader(one)
        reader.waiting = 10**9
        channel, _ = await come_back(one, reader, 0)
        top = await publish(one, 700)
        await until(lambda: channel.position.offset == top)
        await reader.read_all(lambda: not channel.feeds)
        assert not faults
        assert reader.offsets == list(range(1, top + 1))


class TestRefill:
    async def test_a_slow_client_holds_nobody_up(self, one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is waited for a moment, then fed by itself; it gets everything when it reads."""
        monkeypatch.setattr(feeder, "REFILL_PATIENCE", 0.1)
        reader = Reader(one)
        subscription = Subscription(reader, "room", positioned=True)
        channel = await one.hub.subscribe(subscription, OPTIONS)
        channel.release(subscription, 0)
        fast, _, _ = await one.subscribe()
        drop(one, *range(1, 900))
        top = await publish(one, 900)
        await until(through(fast, top))
        assert reader.max_waiting <= one.hub.feeder.room + feeder.PIECE
        await reader.read_all(lambda: not channel.feeds)
        assert reader.offsets == list(range(1, top + 1))
        assert not reader.lost

    async def test_a_client_that_reads_is_waited_for(self, one: Process) -> None:
        """Everybody is given the same pages while all keep up."""
        reader = Reader(one)
        subscription = Subscription(reader, "room", positioned=True)
        channel = await one.hub.subscribe(subscription, OPTIONS)
        channel.release(subscription, 0)
        drop(one, *range(1, 900))
        top = await publish(one, 900)
        await reader.read_all(through(reader, top))
        assert reader.max_waiting < MAX_UNSENT

    async def test_a_small_gap_waits_for_nobody(self, one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever has much unread gets it later."""
        monkeypatch.setattr(feeder, "REFILL_PATIENCE", 1000.0)
        reader = Reader(one)
        subscription = Subscription(reader, "room", positioned=True)
        channel = await one.hub.subscribe(subscription, OPTIONS)
        channel.release(subscription, 0)
        fast, _, _ = await one.subscribe()
        reader.waiting = 10**6
        drop(one, 1, 2)
        top = await publish(one, 3)
        await until(through(fast, top))
        assert channel.feeds
        await reader.read_all(through(reader, top))


class TestPages:
    async def test_a_page_holds_one_publication_at_least(self, one: Process) -> None:
        """However large it is; all the others stay within the bound."""
        channel = LocalChannel("room", OPTIONS)
        sizes = [10, 5000, 10, 10, 10, 3000, 10]
        for size in sizes:
            await one.broker.publish("room", b'{"data":"%s"}' % (b"x" * size), OPTIONS)
        channel.position = (await one.broker.history("room", OPTIONS)).top._replace(offset=0)
        found: list[Publication] = []
        while len(found) < len(sizes):
            piece = await pages.read_on(one.broker, channel, len(found), 1000)
            assert pages.continues(channel, len(found), piece)
            assert piece.publications
            assert piece.bytes <= 1000 or len(piece.publications) == 1
            found += piece.publications
        assert [publication.offset for publication in found] == list(range(1, len(sizes) + 1))
