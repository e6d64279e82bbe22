"""Two hubs on one Redis, as two processes: everybody is given the same, in one order, and once."""

import asyncio

import pytest

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.layer import LAYER_FAULTS
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.view import View
from flotilla.realtime.protocol.formats import WEBSOCKET_PROTOBUF
from flotilla.store import placement_of
from tests.realtime.engine.processes import OPTIONS, Client, Make, Process, expect
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

NONE = ChannelOptions()


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
        await one.layer.group_send(placement_of("room").group, message)
        await until(lambda: client.pushes == [{"channel": "room", "join": {"info": {"user": "u"}}}])

    async def test_a_message_that_cannot_be_handled_stops_nothing(
        self, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, and the next one is delivered."""
        one = await make()
        client, _, _ = await one.subscribe()
        for message in ({"type": "pub", "c": "room"}, {"type": "?", "c": "room"}, {"type": "pub"}):
            await one.layer.group_send(placement_of("room").group, message)
        await one.publish()
        await until(expect(client, 1, 1))
        assert "could not be handled" in caplog.text

    @pytest.mark.parametrize("joining", [False, True])
    async def test_a_publication_that_cannot_be_written_is_no_silent_gap_and_stops_no_other_channel(
        self, make: Make, *, joining: bool
    ) -> None:
        """Nor does it cost the process its connection to Redis."""
        one = await make()
        reconnected: list[int] = []
        one.layer.on_reconnect = reconnected.append
        client, subscription, _ = await one.subscribe()
        one.hub.channels["room"].followers.discard(subscription)
        subscription.view = View(WEBSOCKET_PROTOBUF)
        one.hub.channels["room"].followers.add(subscription)
        other, _, _ = await one.subscribe("other")
        if joining:
            held = Subscription(Client(one.hub), "room", positioned=True)
            await one.hub.subscribe(held, OPTIONS)
        await asyncio.gather(one.broker.publish("room", b'{"data":', OPTIONS), one.publish(channel="other"))
        await until(expect(other, 1, 1))
        await until(lambda: client.lost == [subscription])
        await one.publish(channel="other")
        await until(expect(other, 1, 2))
        assert not reconnected


class TestStarting:
    async def test_a_hub_started_without_redis_serves_when_it_is_back(self, mortal_redis: RedisProcess) -> None:
        """Until then subscribers are refused in time."""
        mortal_redis.kill()
        process = Process(mortal_redis.url)
        with pytest.raises(LAYER_FAULTS):
            await process.start()
        await asyncio.to_thread(mortal_redis.start)
        await process.start()
        client, _, _ = await process.subscribe()
        await process.publish()
        await until(expect(client, 1, 1))
        await process.close()
