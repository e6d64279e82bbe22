"""What goes through channels is counted as it is written, whichever way it takes."""

import pytest

from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.protocol.frames import Frame
from tests.realtime.engine.processes import Client, Make, Process
from tests.realtime.engine.test_feeder import come_back, publish
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


class Weighed(Client):
    """A client that weighs what it is sent."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.hub)
        self.bytes = 0

    def send(self, frame: Frame) -> None:
        super().send(frame)
        self.bytes += len(frame.wire)


async def test_every_byte_to_a_subscriber_is_counted_once(make: Make) -> None:
    """Live, held back until the reply, and fed from history: as the sockets got it."""
    process = await make()
    first, second = Weighed(process), Weighed(process)
    top = await publish(process, 100)
    channel, subscription = await come_back(process, first, top)
    await publish(process, 5)
    await until(lambda: len(first.offsets) == 5)
    await come_back(process, second, 0)  # more than a piece: it is fed
    assert channel.feeds
    await publish(process, 5)
    await until(lambda: len(second.offsets) == top + 10 and len(first.offsets) == 10)
    channel.deliver(Publication(0, b'{"data":1}'))
    channel.remove(subscription, 0.0)  # what was delivered is written first
    traffic = process.hub.traffic.of("room")
    assert traffic.sent_bytes == first.bytes + second.bytes
    assert process.hub.delivered == traffic.delivered
    assert traffic.subscriptions == 1


async def test_the_namespaces_of_channels_are_apart(make: Make) -> None:
    process = await make()
    await process.subscribe("news:a")
    await process.subscribe("room")
    client, subscription, _ = await process.subscribe("news:b")
    await process.publish(channel="news:b")
    await until(lambda: client.offsets == [1])
    found = process.hub.traffic.all()
    assert {name: one.subscriptions for name, one in found.items()} == {"news": 2, "(none)": 1}
    assert {name: one.delivered for name, one in found.items()} == {"news": 1, "(none)": 0}
    process.hub.unsubscribe(subscription)
    process.hub.unsubscribe(subscription)
    assert process.hub.traffic.of("news:c").subscriptions == 1
