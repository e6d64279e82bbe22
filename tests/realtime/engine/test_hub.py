"""Two hubs on one Redis, as two processes: nothing is lost, doubled or out of order, or it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from realtime.conf import ChannelOptions
from realtime.engine import heartbeat, hub, pages
from realtime.engine.hub import NotLive
from realtime.engine.local_channel import Flow
from realtime.engine.publication import Page
from realtime.engine.subscription import Subscription
from store import place
from tests.realtime.engine.processes import OPTIONS, Client, Process, Proxy
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

NONE = ChannelOptions()
Make = Callable[..., Awaitable[Process]]


@pytest_asyncio.fixture
async def make(redis_url: str) -> AsyncIterator[Make]:
    """Start a process: `await make(check_interval=1, beating=True)`."""
    made: list[Process] = []

    async def start(url: str = redis_url, *, beating: bool = False, **options: Any) -> Process:
        process = Process(url, **options)
        made.append(process)
        return await process.start(beating=beating)

    yield start
    for process in made:
        await process.close()


def drop(monkeypatch: pytest.MonkeyPatch, process: Process, *offsets: int) -> list[int]:
    """Let this process's mailbox lose these publications; returns those that were lost so far."""
    dropped: list[int] = []
    inner = process.hub._dispatch

    def dispatch(message: dict[str, Any]) -> None:
        if message["type"] == "pub" and message["o"] in offsets:
            dropped.append(message["o"])
        else:
            inner(message)

    monkeypatch.setattr(process.hub, "_dispatch", dispatch)
    return dropped


async def _after(condition: Callable[[], bool], work: Awaitable[None]) -> None:
    await until(condition)
    await work


def expect(client: Client, first: int, last: int) -> Callable[[], bool]:
    return lambda: client.offsets == list(range(first, last + 1))


class TestDelivering:
    async def test_what_comes_together_leaves_in_messages_of_a_bounded_size(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process = await make()
        client, _, _ = await process.subscribe()
        sizes: list[int] = []
        send = client.send
        monkeypatch.setattr(client, "send", lambda frame: (sizes.append(len(frame.payload)), send(frame)))
        body = b'{"data":"%b"}' % (b"x" * 4000)
        await asyncio.gather(*(process.broker.publish("room", body, OPTIONS) for _ in range(40)))
        await until(expect(client, 1, 40))
        assert len(sizes) < 40
        assert max(sizes) < 32768 + 5000  # a message is ended when it has reached the bound

    async def test_everybody_sees_one_order(self, make: Make) -> None:
        """Both processes publish and subscribers come at any time: each sees all above its start, once, in order."""
        processes = [await make(), await make()]
        clients: list[tuple[Client, int]] = []

        async def publish(process: Process) -> None:
            for _ in range(150):
                await process.publish()

        async def subscribe(process: Process, after: int) -> None:
            await until(lambda: process.hub.delivered >= after or not after)
            client, _, start = await process.subscribe()
            clients.append((client, start))

        work = [publish(process) for process in processes]
        work += [subscribe(process, 0) for process in processes for _ in range(3)]
        work += [subscribe(process, after) for process in processes for after in (20, 40, 80)]
        await asyncio.gather(*work)
        for client, start in clients:
            await until(expect(client, start + 1, 300), 3, f"{start}: {client.offsets[-3:]}")
            assert not client.lost

    async def test_a_channel_without_history_is_delivered_too(self, make: Make) -> None:
        """From the moment of the reply on."""
        one, two = await make(), await make()
        client, _, _ = await one.subscribe(options=NONE, positioned=False)
        await two.publish(3, options=NONE)
        await until(lambda: client.offsets == [0, 0, 0])

    async def test_a_new_subscriber_starts_above_what_its_process_has_published(self, make: Make) -> None:
        """A publish that was answered is before the subscription, although the layer has not brought it yet."""
        one = await make()
        first, _, _ = await one.subscribe()
        for _ in range(20):
            offset = await one.publish()
            client, subscription, start = await one.subscribe()
            assert start >= offset
            one.hub.unsubscribe(subscription)
        await until(expect(first, 1, 20))

    async def test_joins_and_leaves_are_passed_on(self, make: Make) -> None:
        """As presence announces them."""
        one = await make()
        client = Client(one.hub)
        subscription = Subscription(client, "room", join_leave=True)
        channel = await one.hub.subscribe(subscription, OPTIONS)
        channel.release(subscription, 0)
        message = {"type": "join", "c": "room", "d": b'{"user":"u"}'}
        await one.layer.group_send(place("room").group, message)
        await until(lambda: client.pushes == [{"channel": "room", "join": {"info": {"user": "u"}}}])

    async def test_a_message_that_cannot_be_handled_stops_nothing(
        self, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, and the next one is delivered."""
        one = await make()
        client, _, _ = await one.subscribe()
        for message in ({"type": "pub", "c": "room"}, {"type": "?", "c": "room"}, {"type": "pub"}):
            await one.layer.group_send(place("room").group, message)
        await one.publish()
        await until(expect(client, 1, 1))
        assert "could not be handled" in caplog.text


class TestConfirming:
    async def test_lost_nonces_are_sent_again(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A subscriber is served although the first confirmations never arrive."""
        one = await make()
        nonces: list[str] = []
        inner = one.hub._dispatch

        def dispatch(message: dict[str, Any]) -> None:
            if message["type"] == "live":
                nonces.append(message["n"])
                if len(nonces) < 3:
                    return
            inner(message)

        monkeypatch.setattr(one.hub, "_dispatch", dispatch)
        monkeypatch.setattr(hub, "FIRST_NONCE_AGAIN", 0.02)
        client, _, _ = await one.subscribe()
        await one.publish(2)
        await until(expect(client, 1, 2))
        assert len(nonces) == 3

    async def test_a_nonce_that_overtook_the_subscription_is_followed_at_once(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By another when Redis says that it has subscribed, not only when its time is over."""
        one = await make()
        monkeypatch.setattr(hub, "FIRST_NONCE_AGAIN", 600.0)
        join, confirm = one.layer.group_add, one.broker.confirm
        asked: list[str] = []
        late: list[asyncio.Future[None]] = []

        async def add_later(group: str, mailbox: str) -> None:
            late.append(asyncio.ensure_future(_after(lambda: bool(asked), join(group, mailbox))))

        async def note(channel: str, nonce: str, options: Any) -> None:
            await confirm(channel, nonce, options)
            asked.append(nonce)

        monkeypatch.setattr(one.layer, "group_add", add_later)
        monkeypatch.setattr(one.broker, "confirm", note)
        client, _, _ = await one.subscribe()
        await one.publish()
        await until(expect(client, 1, 1))
        assert len(asked) == 2
        await asyncio.gather(*late)

    async def test_subscribers_share_one_confirmation(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hundred at once are one nonce, or two when Redis's word comes between."""
        one = await make()
        asked: list[str] = []
        inner = one.broker.confirm

        async def confirm(channel: str, nonce: str, options: Any) -> None:
            asked.append(nonce)
            await inner(channel, nonce, options)

        monkeypatch.setattr(one.broker, "confirm", confirm)
        clients = await asyncio.gather(*(one.subscribe() for _ in range(100)))
        assert len(asked) <= 2
        await one.publish()
        await until(lambda: all(client.offsets == [1] for client, _, _ in clients))

    async def test_a_nonce_of_somebody_else_proves_nothing(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another process's confirmation arrives in the same group."""
        one, two = await make(), await make()

        async def lost(*_: Any) -> None:
            return None

        monkeypatch.setattr(one.broker, "confirm", lost)
        monkeypatch.setattr(hub, "CONFIRM_WITHIN", 0.4)
        subscribing = asyncio.create_task(one.subscribe())
        await until(lambda: "room" in one.hub.channels)
        for _ in range(5):
            await two.broker.confirm("room", "another", OPTIONS)
        with pytest.raises(NotLive):
            await subscribing
        assert one.hub.channels["room"].flow is Flow.CONFIRMING
        assert one.hub.channels["room"].subscriptions == []

    async def test_publications_around_the_confirmation_are_not_doubled(self, make: Make) -> None:
        """Those before the nonce are below its position, those after it are delivered, with publishing going on."""
        one, two = await make(), await make()
        stop = asyncio.Event()

        async def publish() -> int:
            last = 0
            while not stop.is_set():
                last = await two.publish()
            return last

        publishing = asyncio.create_task(publish())
        found = [await one.subscribe("room") for _ in range(1)]
        for _ in range(5):
            client, subscription, start = await one.subscribe()
            await until(lambda c=client: len(c.offsets) > 5)  # type: ignore[misc]
            found.append((client, subscription, start))
        stop.set()
        last = await publishing
        for client, _, start in found:
            await until(expect(client, start + 1, last))


class TestGaps:
    @pytest.mark.parametrize("dropped", [(1,), (3,), (2, 3, 4), (1, 3, 5)])
    async def test_dropped_messages_are_refilled(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, dropped: tuple[int, ...]
    ) -> None:
        """Subscribers see every publication once and in order, as if nothing had happened."""
        one, two = await make(), await make()
        client, _, _ = await one.subscribe()
        other, _, _ = await two.subscribe()
        lost = drop(monkeypatch, one, *dropped)
        await two.publish(8)
        await until(expect(client, 1, 8))
        await until(expect(other, 1, 8))
        assert lost
        assert not client.lost

    async def test_reordered_messages_are_put_in_order(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """The layer promises no order."""
        one = await make()
        client, _, _ = await one.subscribe()
        waiting: list[dict[str, Any]] = []
        inner = one.hub._dispatch

        def dispatch(message: dict[str, Any]) -> None:
            if message["type"] == "pub":
                waiting.append(message)
                if len(waiting) == 5:
                    for one_of in reversed(waiting):
                        inner(one_of)
            else:
                inner(message)

        monkeypatch.setattr(one.hub, "_dispatch", dispatch)
        await one.publish(5)
        await until(expect(client, 1, 5))

    async def test_a_long_gap_is_refilled_in_pages(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """More than one page is missing."""
        monkeypatch.setattr(pages, "MOST_PUBLICATIONS", 7)
        one = await make()
        client, _, _ = await one.subscribe()
        drop(monkeypatch, one, *range(1, 40))
        await one.publish(40)
        await until(expect(client, 1, 40))

    async def test_publishing_during_a_refill_is_delivered(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """What arrives while history is being read is in history, or follows it."""
        one, two = await make(), await make()
        client, _, _ = await one.subscribe()
        drop(monkeypatch, one, *range(1, 300, 3))
        await asyncio.gather(two.publish(150), one.publish(150))
        await until(expect(client, 1, 300))

    async def test_a_confirmation_during_a_refill_is_heeded(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """What it knows of may have been published after history was read, and lost."""
        one, two = await make(), await make()
        client, _, _ = await one.subscribe()
        channel = one.hub.channels["room"]
        lost = drop(monkeypatch, one, 1, 3)
        inner, go_on, read = one.broker.history, asyncio.Event(), list[int]()

        async def slow(name: str, options: Any, **wanted: Any) -> Page:
            page = await inner(name, options, **wanted)
            read.append(page.top.offset)
            await go_on.wait()  # its answer is slow
            return page

        monkeypatch.setattr(one.broker, "history", slow)
        await two.publish(2)
        await until(lambda: lost == [1] and read and channel.flow is Flow.REFILLING)
        await two.publish()
        await until(lambda: lost == [1, 3])
        before = channel.checked_at
        one.hub.resync()
        await until(lambda: channel.checked_at > before and not channel.waiting_nonce)
        go_on.set()
        await until(expect(client, 1, 3), 2)

    async def test_what_history_lost_is_told_to_those_who_count(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Positioned subscribers lose their position; the others go on with what comes next."""
        one = await make()
        options = ChannelOptions(history_size=2, history_ttl=60)
        counting, subscription, _ = await one.subscribe(options=options)
        careless, _, _ = await one.subscribe(options=options, positioned=False)
        drop(monkeypatch, one, 2, 3, 4)
        await one.publish(5, options=options)
        await until(lambda: counting.lost == [subscription])
        await one.publish(1, options=options)
        await until(lambda: careless.offsets[-1] == 6)
        assert counting.offsets == [1]
        assert not careless.lost
        assert careless.offsets == sorted(set(careless.offsets))
        again, _, start = await one.subscribe(options=options)
        assert start == 6
        await one.publish(1, options=options)
        await until(expect(again, 7, 7))

    async def test_a_new_epoch_is_told(self, redis_process: RedisProcess, make: Make) -> None:
        """The stream began anew: no old position counts."""
        one = await make()
        client, subscription, _ = await one.subscribe()
        await one.publish(3)
        await until(expect(client, 1, 3))
        redis_process.ask("DEL", place("room").key("meta"))
        await one.publish(2)
        await until(lambda: client.lost == [subscription])
        _, _, start = await one.subscribe()
        assert start == 2

    async def test_a_loss_before_the_reply_breaks_every_subscription_that_waits(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, redis_process: RedisProcess
    ) -> None:
        """Its reply would name an offset of a stream that is gone, and nothing up to there would reach it."""
        one = await make()
        _, first, _ = await one.subscribe()
        await one.publish(5)
        channel = one.hub.channels["room"]
        await until(lambda: channel.position.offset == 5)
        waiting = []
        for positioned in (True, False):
            subscription = Subscription(Client(one.hub), "room", positioned=positioned)
            await one.hub.subscribe(subscription, OPTIONS)
            waiting.append(subscription)
        redis_process.ask("DEL", place("room").key("meta"))
        await one.publish(1)
        await until(lambda: first.broken)
        assert [subscription.broken for subscription in waiting] == [True, True]

    async def test_refilling_waits_for_redis(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """History that cannot be read is asked for again; meanwhile nothing is delivered out of order."""
        one = await make()
        client, _, _ = await one.subscribe()
        drop(monkeypatch, one, 1)
        inner, failures = one.broker.history, [1, 1, 1]

        async def history(*args: Any, **wanted: Any) -> Page:
            if failures:
                failures.pop()
                raise hub.StoreUnavailable("away")
            return await inner(*args, **wanted)

        monkeypatch.setattr(one.broker, "history", history)
        await one.publish(3)
        await until(expect(client, 1, 3))
        assert not failures


class TestHealing:
    async def test_a_killed_connection_is_resynced(self, redis_process: RedisProcess, make: Make) -> None:
        """What was published while nobody listened is delivered, without another publication."""
        one, two = await make(), await make()
        clients = [await one.subscribe(f"room-{number}") for number in range(20)]
        for round in range(1, 4):  # the first time counts as well
            redis_process.ask("CLIENT", "KILL", "TYPE", "pubsub")
            for number in range(20):
                await two.publish(2, f"room-{number}")
            for client, _, _ in clients:
                await until(expect(client, 1, 2 * round))

    async def test_a_deaf_connection_is_replaced(
        self, redis_url: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is open and says nothing; the missing beats give it away, and what it swallowed is delivered."""
        monkeypatch.setattr(heartbeat, "EVERY", 0.05)
        monkeypatch.setattr(heartbeat, "DEAF_AFTER", 0.3)
        proxy = await Proxy(redis_url, str(tmp_path / "proxy.sock")).start()
        try:
            one = await make(layer_url=proxy.url, beating=True)
            client, _, _ = await one.subscribe()
            await until(lambda: one.heartbeat.alive)
            proxy.go_deaf()
            await one.publish(3)
            await until(lambda: not one.heartbeat.alive)
            assert client.offsets == []
            await until(expect(client, 1, 3))
            await until(lambda: one.heartbeat.alive)
            assert proxy.connections >= 2
            await one.close()
        finally:
            await proxy.close()

    async def test_skipped_beats_resync(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hole in the numbers means that messages may be missing."""
        one = await make()
        client, _, _ = await one.subscribe()
        drop(monkeypatch, one, 1)
        await one.publish()
        one.heartbeat.arrived(0, 1)
        one.heartbeat.arrived(0, 2)
        assert not one.hub.channels["room"].waiting_nonce
        one.heartbeat.arrived(0, 4)
        await until(expect(client, 1, 1))

    async def test_a_nonce_of_before_the_fault_proves_nothing_after_it(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was read in time, but what was published behind it was not: only a nonce sent since then counts."""
        one = await make()
        client, _, _ = await one.subscribe()
        drop(monkeypatch, one, 1)
        inner, nonces = one.hub._dispatch, list[dict[str, Any]]()
        monkeypatch.setattr(one.hub, "_dispatch", lambda m: nonces.append(m) if m["type"] == "live" else inner(m))
        one.hub.resync()
        await until(lambda: nonces)
        await one.publish()
        one.hub.resync()
        inner(nonces[0])
        assert one.hub.channels["room"].waiting_nonce
        monkeypatch.setattr(one.hub, "_dispatch", inner)
        await until(expect(client, 1, 1))

    async def test_the_position_check_finds_a_loss(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """The last message before silence was lost: nothing but the check can notice."""
        one = await make(check_interval=0.2)
        client, _, _ = await one.subscribe()
        lost = drop(monkeypatch, one, 1, 2)
        await one.publish(2)
        await until(lambda: lost == [1, 2])
        await until(expect(client, 1, 2), 3)

    async def test_a_redis_that_was_killed_and_lost_everything(self, mortal_redis: RedisProcess, make: Make) -> None:
        """Positions are lost and told; new subscribers are served."""
        one = await make(mortal_redis.url, beating=True)
        client, subscription, _ = await one.subscribe()
        await one.publish(3)
        await until(expect(client, 1, 3))
        mortal_redis.kill()
        await asyncio.to_thread(mortal_redis.start)
        await until(lambda: client.lost == [subscription])
        again, _, start = await one.subscribe()
        assert start == 0
        await one.publish()
        await until(expect(again, 1, 1))

    async def test_a_hub_started_without_redis_serves_when_it_is_back(self, mortal_redis: RedisProcess) -> None:
        """Until then subscribers are refused in time."""
        mortal_redis.kill()
        process = Process(mortal_redis.url)
        with pytest.raises(hub.LAYER_FAULTS):
            await process.start()
        await asyncio.to_thread(mortal_redis.start)
        await process.start()
        client, _, _ = await process.subscribe()
        await process.publish()
        await until(expect(client, 1, 1))
        await process.close()


class TestParting:
    async def test_channels_without_subscribers_are_left(
        self, redis_process: RedisProcess, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a while: the group, the memory, the subscription at Redis."""
        monkeypatch.setattr(hub, "LINGER", 0.1)
        one = await make()
        _, subscription, _ = await one.subscribe()
        kept, _, _ = await one.subscribe("kept")
        assert topics(redis_process, "room")
        one.hub.unsubscribe(subscription)
        await until(lambda: "room" not in one.hub.channels)
        await until(lambda: not topics(redis_process, "room"))
        assert "kept" in one.hub.channels
        await one.publish(1, "kept")
        await until(expect(kept, 1, 1))
        client, _, start = await one.subscribe()
        await one.publish()
        await until(expect(client, start + 1, start + 1))

    async def test_a_lingering_channel_is_taken_up_again(self, make: Make) -> None:
        """Without a new confirmation, and without a gap."""
        one = await make()
        _, subscription, _ = await one.subscribe()
        channel = one.hub.channels["room"]
        one.hub.unsubscribe(subscription)
        await one.publish(2)
        client, _, start = await one.subscribe()
        assert one.hub.channels["room"] is channel
        assert start == 2
        await one.publish()
        await until(expect(client, 3, 3))

    async def test_a_channel_taken_up_while_others_are_left_stays(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Leaving takes time; whoever comes meanwhile must not be left with a dead channel."""
        monkeypatch.setattr(hub, "LINGER", 0.0)
        one = await make()
        for name in ("first", "room"):
            _, subscription, _ = await one.subscribe(name)
            one.hub.unsubscribe(subscription)
        inner, leaving, go_on = one.layer.group_discard, asyncio.Event(), asyncio.Event()

        async def slow(group: str, mailbox: str) -> None:
            leaving.set()
            await go_on.wait()
            await inner(group, mailbox)

        monkeypatch.setattr(one.layer, "group_discard", slow)
        await leaving.wait()
        client, _, _ = await one.subscribe()
        go_on.set()
        await until(lambda: "first" not in one.hub.channels)
        await one.publish()
        await until(expect(client, 1, 1), 3)

    async def test_leaving_fails_and_is_no_end(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A subscriber that comes and goes while Redis is away leaves a hub that works."""
        one = await make()
        for _ in range(30):
            client, subscription, start = await one.subscribe()
            await one.publish()
            await until(expect(client, start + 1, start + 1))
            one.hub.unsubscribe(subscription)
            one.hub.channels["room"].idle_since = -100.0
            await one.hub._part_idle()
        assert one.hub.channels == {}


def topics(redis_process: RedisProcess, channel: str) -> list[bytes]:
    found: list[bytes] = redis_process.ask("PUBSUB", "CHANNELS", place(channel).topic)
    return found
