"""Hubs on one Redis, as processes: nothing is lost or doubled, or it is told; no channel is left without work."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import pages, synchronizer
from flotilla.realtime.engine.local_channel import Flow
from flotilla.realtime.engine.publication import Page
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.synchronizer import NotLive
from flotilla.realtime.node import heartbeat
from flotilla.store import StoreUnavailable, placement_of
from tests.realtime.engine.processes import OPTIONS, Client, Make, Proxy, drop, expect, intercept, topics
from tests.store import cluster_process
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

NONE = ChannelOptions()


async def _after(condition: Callable[[], bool], work: Awaitable[None]) -> None:
    await until(condition)
    await work


class TestConfirming:
    async def test_lost_nonces_are_sent_again(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A subscriber is served although the first confirmations never arrive."""
        one = await make()
        nonces: list[str] = []

        def wanted(message: dict[str, Any], _: bytes) -> bool:
            if message["type"] == "live":
                nonces.append(message["n"])
                return len(nonces) >= 3
            return True

        intercept(one.hub, wanted)
        monkeypatch.setattr(synchronizer, "FIRST_NONCE_AGAIN", 0.02)
        client, _, _ = await one.subscribe()
        await one.publish(2)
        await until(expect(client, 1, 2))
        assert len(nonces) == 3

    async def test_a_nonce_that_overtook_the_subscription_is_followed_at_once(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By another when Redis says that it has subscribed, not only when its time is over."""
        one = await make()
        monkeypatch.setattr(synchronizer, "FIRST_NONCE_AGAIN", 600.0)
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
        monkeypatch.setattr(synchronizer, "CONFIRM_WITHIN", 0.4)
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
    async def test_dropped_messages_are_refilled(self, make: Make, dropped: tuple[int, ...]) -> None:
        """Subscribers see every publication once and in order, as if nothing had happened."""
        one, two = await make(), await make()
        client, _, _ = await one.subscribe()
        other, _, _ = await two.subscribe()
        lost = drop(one, *dropped)
        await two.publish(8)
        await until(expect(client, 1, 8))
        await until(expect(other, 1, 8))
        assert lost
        assert not client.lost

    async def test_reordered_messages_are_put_in_order(self, make: Make) -> None:
        """The layer promises no order."""
        one = await make()
        client, _, _ = await one.subscribe()
        waiting: list[bytes] = []

        def wanted(message: dict[str, Any], encoded: bytes) -> bool:
            if message["type"] == "pub":
                waiting.append(encoded)
                return False
            return True

        intercept(one.hub, wanted)
        await one.publish(5)
        await until(lambda: len(waiting) == 5)
        one.hub._receive(waiting[::-1])
        await until(expect(client, 1, 5))

    async def test_a_long_gap_is_refilled_in_pages(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """More than one page is missing."""
        monkeypatch.setattr(pages, "MAX_PUBLICATIONS", 7)
        one = await make()
        client, _, _ = await one.subscribe()
        drop(one, *range(1, 40))
        await one.publish(40)
        await until(expect(client, 1, 40))

    async def test_publishing_during_a_refill_is_delivered(self, make: Make) -> None:
        """What arrives while history is being read is in history, or follows it."""
        one, two = await make(), await make()
        client, _, _ = await one.subscribe()
        drop(one, *range(1, 300, 3))
        await asyncio.gather(two.publish(150), one.publish(150))
        await until(expect(client, 1, 300))

    async def test_a_confirmation_during_a_refill_is_heeded(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """What it knows of may have been published after history was read, and lost."""
        one, two = await make(), await make()
        client, _, _ = await one.subscribe()
        channel = one.hub.channels["room"]
        lost = drop(one, 1, 3)
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

    async def test_what_history_lost_is_told_to_those_who_count(self, make: Make) -> None:
        """Positioned subscribers lose their position; the others go on with what comes next."""
        one = await make()
        options = ChannelOptions(history_size=2, history_ttl=60)
        counting, subscription, _ = await one.subscribe(options=options)
        careless, _, _ = await one.subscribe(options=options, positioned=False)
        drop(one, 2, 3, 4)
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
        redis_process.ask("DEL", placement_of("room").key("meta"))
        await one.publish(2)
        await until(lambda: client.lost == [subscription])
        _, _, start = await one.subscribe()
        assert start == 2

    async def test_a_loss_before_the_reply_breaks_every_subscription_that_waits(
        self, make: Make, redis_process: RedisProcess
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
        redis_process.ask("DEL", placement_of("room").key("meta"))
        await one.publish(1)
        await until(lambda: first.broken)
        assert [subscription.broken for subscription in waiting] == [True, True]

    async def test_refilling_waits_for_redis(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """History that cannot be read is asked for again; meanwhile nothing is delivered out of order."""
        one = await make()
        client, _, _ = await one.subscribe()
        drop(one, 1)
        inner, failures = one.broker.history, [1, 1, 1]

        async def history(*args: Any, **wanted: Any) -> Page:
            if failures:
                failures.pop()
                raise StoreUnavailable("away")
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

    @pytest.mark.skipif(cluster_process.CHOSEN, reason="the proxy is before one Redis, and a cluster has several")
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

    async def test_skipped_beats_resync(self, make: Make) -> None:
        """A hole in the numbers means that messages may be missing."""
        one = await make()
        client, _, _ = await one.subscribe()
        drop(one, 1)
        await one.publish()
        shard = one.store.shard_for(placement_of("room")).index
        one.heartbeat.arrived(shard, 1)
        one.heartbeat.arrived(shard, 2)
        assert not one.hub.channels["room"].waiting_nonce
        one.heartbeat.arrived(shard, 4)
        await until(expect(client, 1, 1))

    async def test_a_nonce_of_before_the_fault_proves_nothing_after_it(self, make: Make) -> None:
        """It was read in time, but what was published behind it was not: only a nonce sent since then counts."""
        one = await make()
        client, _, _ = await one.subscribe()
        nonces: list[bytes] = []

        def wanted(message: dict[str, Any], encoded: bytes) -> bool:
            if message["type"] == "live":
                nonces.append(encoded)
            return message["type"] not in ("live", "pub")

        as_before = intercept(one.hub, wanted)
        one.hub.resync()
        await until(lambda: nonces)
        await one.publish()
        one.hub.resync()
        one.hub._receive(nonces[:1])
        assert one.hub.channels["room"].waiting_nonce
        as_before()
        await until(expect(client, 1, 1))

    async def test_the_position_check_finds_a_loss(self, make: Make) -> None:
        """The last message before silence was lost: nothing but the check can notice."""
        one = await make(check_interval=0.2)
        client, _, _ = await one.subscribe()
        lost = drop(one, 1, 2)
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


class TestParting:
    async def test_channels_without_subscribers_are_left(
        self, redis_process: RedisProcess, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a while: the group, the memory, the subscription at Redis."""
        monkeypatch.setattr(synchronizer, "LINGER", 0.1)
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
        monkeypatch.setattr(synchronizer, "LINGER", 0.0)
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

    async def test_leaving_fails_and_is_no_end(self, make: Make) -> None:
        """A subscriber that comes and goes while Redis is away leaves a hub that works."""
        one = await make()
        for _ in range(30):
            client, subscription, start = await one.subscribe()
            await one.publish()
            await until(expect(client, start + 1, start + 1))
            one.hub.unsubscribe(subscription)
            one.hub.channels["room"].idle_since = -100.0
            await one.hub._synchronizer._leave_idle()
        assert one.hub.channels == {}
