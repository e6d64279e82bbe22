"""A hub with its own layer and broker, as one process of the cluster has them; and a proxy that can go deaf."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import envelope
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.hub import Hub
from flotilla.realtime.engine.layer import ChannelLayer
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.node.heartbeat import Heartbeat
from flotilla.realtime.protocol.frames import Frame
from flotilla.store import Store, placement_of
from tests.store.redis_process import RedisProcess

Make = Callable[..., Awaitable["Process"]]
OPTIONS = ChannelOptions(history_size=1000, history_ttl=60, history_meta_ttl=7200)


class Client:
    """A connection that notes what it is sent; it leaves a channel whose position is lost, as clients do."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.socket = self
        self.pushes: list[dict[str, Any]] = []
        self.lost: list[Subscription] = []
        self.descriptor = -1
        self.waiting = 0
        self.busy = False
        self.dropped = False

    def send(self, frame: Frame) -> None:
        self.pushes += [json.loads(line)["push"] for line in frame.payload.split(b"\n")]

    def lose_position(self, subscription: Subscription) -> None:
        self.lost.append(subscription)
        if subscription.held is None:
            self.hub.unsubscribe(subscription)

    def too_slow(self) -> None:
        self.dropped = True

    @property
    def offsets(self) -> list[int]:
        return [push["pub"].get("offset", 0) for push in self.pushes if "pub" in push]


class Process:
    """One process: store, broker, layer, hub, heartbeat."""

    def __init__(self, *urls: str, layer_url: str = "", check_interval: float = 1000) -> None:
        self.store = Store(urls)
        self.broker = Broker(self.store)
        self.layer = ChannelLayer(hosts=[layer_url] if layer_url else list(urls), prefix="flotilla").loop_layer()
        self.hub = Hub(self.layer, self.broker, check_interval=check_interval, max_joined=32768)
        self.heartbeat = Heartbeat(self.store, self.hub, self.layer)

    async def start(self, *, beating: bool = False) -> "Process":
        """As a node does."""
        self.layer.on_reconnect = self.hub.resync
        self.hub.on_beat = self.heartbeat.arrived
        await self.hub.start()
        if beating:
            await self.heartbeat.start()
        return self

    async def close(self) -> None:
        await self.heartbeat.close()
        await self.hub.close()
        await self.layer.flush()
        await self.store.close()

    async def subscribe(
        self, channel: str = "room", options: ChannelOptions = OPTIONS, *, positioned: bool = True
    ) -> tuple[Client, Subscription, int]:
        """A client in the channel, and the offset it begins above."""
        client = Client(self.hub)
        subscription = Subscription(client, channel, positioned=positioned)
        joined = await self.hub.subscribe(subscription, options)
        start = self.hub.top(joined).offset
        joined.release(subscription, start)
        return client, subscription, start

    async def publish(self, count: int = 1, channel: str = "room", options: ChannelOptions = OPTIONS) -> int:
        """Publish so many; returns the last offset."""
        offset = 0
        for _ in range(count):
            offset = (await self.broker.publish(channel, b'{"data":1}', options)).offset
        return offset


class Proxy:
    """A TCP-like relay on a Unix socket. While `deaf`, nothing of what the server says is passed on, and no connection
    breaks; connections made after `heal` work."""

    def __init__(self, target: str, path: str) -> None:
        self.url = f"unix://{path}"
        self.connections = 0
        self._target, self._path = target.removeprefix("unix://"), path
        self._deaf: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> "Proxy":
        self._server = await asyncio.start_unix_server(self._accept, self._path)
        return self

    def go_deaf(self) -> None:
        """The connections there are now never say anything again."""
        self._deaf = set(range(self.connections))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        up_reader, up_writer = await asyncio.open_unix_connection(self._target)
        self._writers += [writer, up_writer]
        for source, sink, mutable in ((reader, up_writer, False), (up_reader, writer, True)):
            task = asyncio.create_task(self._pump(source, sink, number if mutable else -1))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, number: int) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if number not in self._deaf:
                    sink.write(data)
                    await sink.drain()
        sink.close()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def intercept(hub: Hub, wanted: Callable[[dict[str, Any], bytes], bool]) -> Callable[[], None]:
    """Let a process's mailbox receive only the messages that are `wanted`, asked with each as decoded and as it came;
    the function that is returned lets it receive all again."""

    def receive(batch: list[bytes]) -> None:
        hub._receive([encoded for encoded in batch if wanted(envelope.decode(encoded), encoded)])

    hub._layer.listen(hub._mailbox, receive)
    return lambda: hub._layer.listen(hub._mailbox, hub._receive)


def drop(process: Process, *offsets: int) -> list[int]:
    """Let this process's mailbox lose these publications; returns those that were lost so far."""
    dropped: list[int] = []

    def wanted(message: dict[str, Any], _: bytes) -> bool:
        if message["type"] != envelope.PUBLICATION or message["o"] not in offsets:
            return True
        dropped.append(message["o"])
        return False

    intercept(process.hub, wanted)
    return dropped


def expect(client: Client, first: int, last: int) -> Callable[[], bool]:
    """Whether a client has been given exactly these offsets, as a condition to wait for."""
    return lambda: client.offsets == list(range(first, last + 1))


def topics(redis_process: RedisProcess, channel: str) -> list[bytes]:
    """What a Redis is subscribed to of a channel."""
    found: list[bytes] = redis_process.ask("PUBSUB", "CHANNELS", placement_of(channel).topic)
    return found
