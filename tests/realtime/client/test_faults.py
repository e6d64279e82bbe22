"""A whole instance while its Redis answers with errors: clients are told to try again, no task ends, and afterwards
every part works again by itself."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flotilla.presence.inspection import members
from flotilla.presence.keys import home_of
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.engine.inspection import stream_states
from flotilla.realtime.engine.synchronizer import NotLive
from flotilla.realtime.node.node import Node
from flotilla.realtime.node.operations.disconnect import Disconnect
from flotilla.store import StoreUnavailable
from flotilla.store.supervised import restarts
from tests.ratelimit.conftest import claim, make_limiter
from tests.realtime.client.peers import Peer
from tests.store.faults import FAULTS
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

ROUNDS = 2  # during a fault
TEMPORARY = 100  # the error that tells a client to try again

Part = Callable[[Node], Awaitable[bool]]
numbers = itertools.count()


@pytest.fixture
def redis_process(mortal_redis: RedisProcess) -> RedisProcess:
    """The node's Redis is this test's own."""
    return mortal_redis


async def client(node: Node) -> bool:
    """A client's life: every command is answered, with what it wants or with a temporary error."""
    peer, channel = Peer(node), f"open:{next(numbers)}"
    commands: list[dict[str, Any]] = [
        {"connect": {}},
        {"subscribe": {"channel": channel}},
        {"publish": {"channel": channel, "data": 1}},
        {"presence": {"channel": channel}},
        {"history": {"channel": channel, "limit": 1}},
        {"unsubscribe": {"channel": channel}},
    ]
    well = True
    for command in commands:
        reply = await peer.ask(**command)
        if "error" in reply:
            assert reply["error"]["code"] == TEMPORARY, (command, reply)
            assert reply["error"]["temporary"] is True
            well = False
            if "connect" in command or "subscribe" in command:
                break
    assert peer.socket.closed is None
    peer.client.closed(1000)
    return well


async def broker(node: Node) -> bool:
    """Publishing and reading, from a coroutine."""
    options = options_for("wish:broker", node.config)
    position = await node.broker.publish("wish:broker", b'{"data":1}', options)
    page = await node.broker.history("wish:broker", options, limit=-1)
    return page.top.epoch == position.epoch and page.top.offset >= position.offset


async def threads(node: Node) -> bool:
    """What threads ask: publishing, reading, several commands at once, an order to the cluster."""

    def ask() -> bool:
        options = options_for("wish:threads", node.config)
        node.broker.publish_sync("wish:threads", b'{"data":1}', options)
        node.broker.history_sync("wish:threads", options, limit=1)
        stream_states(node.store, [("wish:threads", options)])
        members(node.store, "c:open:threads")
        return node.control.order_sync(Disconnect(user="nobody"), 0.5).complete

    return await asyncio.to_thread(ask)


async def control(node: Node) -> bool:
    """An order to every instance is carried out and answered."""
    await node.control.tell(Disconnect(user="nobody"))
    return (await node.control.order(Disconnect(user="nobody"), 0.5)).complete


async def presence(node: Node) -> bool:
    """A connection comes and goes."""
    name = f"client-{next(numbers)}"
    await node.presence.add("c:people:part", name, "u", b"{}")
    there = name in await node.presence.members("c:people:part")
    await node.presence.remove("c:people:part", name)
    return there and name not in await node.presence.members("c:people:part")


async def lease(node: Node) -> bool:
    """The lease is renewed, and others are seen."""
    await node.presence.tell()
    return node.presence.alive and await node.presence.leases() >= 1


async def blocks(node: Node) -> bool:
    """The list of blocks can be read."""
    await node.blocks.check()
    return True


async def heartbeat(node: Node) -> bool:
    """Beats come back."""
    return node.heartbeat.alive


async def vitals(node: Node) -> bool:
    """Redis's clock is known, and how many instances there are."""
    return node.hub.stats.clocks.ahead[0] is not None and bool(node.vitals.leases)


PARTS: tuple[Part, ...] = (client, broker, threads, control, presence, lease, blocks, heartbeat, vitals)


async def works(part: Part, node: Node) -> bool:
    """Whether a part does what it is for. A fault of Redis may say no, in the one way everybody is ready for."""
    try:
        return await part(node)
    except (StoreUnavailable, NotLive):
        return False


@pytest.mark.parametrize("name", list(FAULTS))
async def test_every_part_works_again_by_itself(
    node: Node, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Whatever was asked of it meanwhile, and without a single unexpected failure."""
    limiter = make_limiter(redis_process.url)
    asked = claim("1000/s")

    async def limits(_: Node) -> bool:
        return (await limiter.decide([asked])).at is not None

    async def limits_of_threads(_: Node) -> bool:
        return (await asyncio.to_thread(limiter.decide_sync, [asked])).at is not None

    parts = (*PARTS, limits, limits_of_threads)
    for part in parts:
        await until(lambda part=part: works(part, node), what=f"{part.__name__} before")  # type: ignore[misc]
    before, ended = dict(restarts), named_tasks()
    async with FAULTS[name](redis_process):
        for _ in range(ROUNDS):
            await asyncio.gather(*(works(part, node) for part in parts))
    for part in parts:
        await until(lambda part=part: works(part, node), 20, f"{part.__name__} after")  # type: ignore[misc]
    await until(lambda: all(node.checks().values()), 20)
    await until(lambda: not any(node.hub.unsettled(0.0).values()), 20)
    await until(lambda: empty(node, "c:people:part"), 20)
    assert dict(restarts) == before
    assert named_tasks() >= ended
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    await limiter.shard.close()
    await limiter.sync_shard.close()


async def empty(node: Node, scope: str) -> bool:
    """Whether nobody is left in a scope."""
    return not await node.presence.members(scope)


def named_tasks() -> set[str]:
    """The tasks that run for as long as the instance does."""
    return {task.get_name() for task in asyncio.all_tasks() if task.get_name() in restarts} - {
        "hub-confirm",
        "hub-refill",
        "join",
    }


@pytest.mark.parametrize("kind", ["meta", "stream", "entries", "users"])
async def test_one_poisoned_key_stops_its_channel_alone(node: Node, redis_process: RedisProcess, kind: str) -> None:
    """Its clients are told to try again; everybody else is served, and the instance is ready."""
    await until(lambda: all(node.checks().values()))
    home = home_of("c:open:poisoned")
    key = getattr(home, kind) if kind in ("entries", "users") else home.placement.key(kind)
    redis_process.ask("SET", key, "poison")
    peer, well = Peer(node), Peer(node)
    await peer.connect()
    await well.connect()
    reply = await peer.ask(subscribe={"channel": "open:poisoned"})
    if kind != "stream":  # where a stream stands, its meta says
        assert reply["error"]["code"] == TEMPORARY
    assert (await well.subscribe("open:well"))["recoverable"]
    assert "error" not in await well.ask(publish={"channel": "open:well", "data": 1})
    assert len((await well.ask(presence={"channel": "open:well"}))["presence"]["presence"]) == 1
    assert all(node.checks().values())
    redis_process.ask("DEL", key)
    other = Peer(node)
    await other.connect()
    await until(lambda: comes_in(other, "open:poisoned"))
    await until(lambda: present(other, "open:poisoned"))
    assert not any(node.hub.unsettled(5.0).values())


async def comes_in(peer: Peer, channel: str) -> bool:
    return "error" not in await peer.ask(subscribe={"channel": channel})


async def present(peer: Peer, channel: str) -> bool:
    found = (await peer.ask(presence={"channel": channel}))["presence"]["presence"]
    return peer.client.id in found


async def test_an_instance_that_cannot_hear_a_shard_is_not_ready_until_it_can(
    node: Node, redis_process: RedisProcess
) -> None:
    """Then again by itself."""
    await until(lambda: all(node.checks().values()))
    async with FAULTS["BUSY"](redis_process):
        await until(lambda: not node.checks()["pubsub"])
    await until(lambda: all(node.checks().values()))
