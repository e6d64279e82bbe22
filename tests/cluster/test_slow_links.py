"""Clients on slow links: what was missed comes at their pace, in order, and every step they made counts."""

import asyncio
from collections.abc import Callable
from typing import Any

import cent
import pytest

from tests.cluster.support.api_client import Api
from tests.cluster.support.driven import on_every_pair
from tests.cluster.support.harness import Cluster
from tests.cluster.support.narrow_link import Narrow
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import Message, RawClient, token
from tests.cluster.support.sdk import MakeClient
from tests.cluster.test_conformance_recovery import raw_keys

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]

RATE = 80 * 1024  # bytes a second
SIZE = 1600  # of a publication
MAX = 300  # publications that may be recovered
LONG = 90.0  # seconds: what takes 6 on an idle machine
SERVERS = [pytest.param(0, id="flotilla"), pytest.param(2, id="daphne"), pytest.param(3, id="uvicorn")]


def numbered(first: int, last: int) -> list[Any]:
    return [{"n": n, "filler": "x" * SIZE} for n in range(first, last + 1)]


async def publish(api: Api, channel: str, first: int, last: int) -> None:
    for start in range(first, last + 1, 100):
        await api.say_all(channel, *numbered(start, min(last, start + 99)))


def numbers(data: list[Any]) -> list[int]:
    return [one["n"] for one in data]


@on_every_pair
async def test_an_sdk_recovers_over_a_slow_link(
    cluster: Cluster, fresh: Fresh, api: Api, make_client: MakeClient
) -> None:
    """All of it, in one connection: the reply does not wait for what was missed."""
    channel = fresh("open")
    async with Narrow(cluster[0].port, RATE) as door:
        client = make_client(door.url, lambda _: token("ann"))
        await client.connect()
        await client.subscribe(channel)
        await client.seen.event("subscribed", channel)
        await publish(api, channel, 1, 1)
        await client.seen.event("publication", channel)
        await client.disconnect()
        await client.seen.event("disconnected")
        await publish(api, channel, 2, MAX + 1)
        await client.connect()
        await client.seen.event("subscribed", channel, was_recovering=True, recovered=True)
        await publish(api, channel, MAX + 2, MAX + 10)  # while it is still being given what it missed
        everything = list(range(1, MAX + 11))
        await eventually(lambda: len(client.seen.published(channel)) >= len(everything), "all publications", LONG)
        assert numbers(client.seen.published(channel)) == everything
        assert client.seen.offsets(channel) == everything
        assert len(client.seen.named("connected")) == 2


@on_every_pair
async def test_a_connection_that_breaks_midway_was_not_in_vain(
    cluster: Cluster, fresh: Fresh, api: Api, make_client: MakeClient
) -> None:
    """The client goes on from the last publication it got."""
    channel = fresh("open")
    async with Narrow(cluster[0].port, RATE) as door:
        client = make_client(door.url, lambda _: token("ann"))
        await client.connect()
        await client.subscribe(channel)
        await client.seen.event("subscribed", channel)
        await publish(api, channel, 1, 1)
        await client.seen.event("publication", channel)
        door.cut()
        await publish(api, channel, 2, MAX + 1)
        for part in (80, 160):
            await eventually(lambda part=part: len(client.seen.published(channel)) > part, f"{part} publications", LONG)
            before = len(client.seen.named("subscribed"))
            door.cut()
            await eventually(lambda before=before: len(client.seen.named("subscribed")) > before, "it is back", LONG)
        await eventually(lambda: len(client.seen.published(channel)) > MAX, "all publications", LONG)
        assert client.seen.offsets(channel) == list(range(1, MAX + 2))
        again = client.seen.named("subscribed")[1:]
        assert len(again) >= 3
        assert all(event["recovered"] for event in again)


async def _positions(cluster: Cluster, channels: list[str]) -> dict[str, str]:
    """The epochs of channels."""
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        return {name: (await client.call("history", channel=name))["history"]["epoch"] for name in channels}


def offsets(client: RawClient, channel: str) -> list[int]:
    return [publication["offset"] for publication in client.publications(channel)]


@pytest.mark.parametrize("server", SERVERS)
async def test_replies_go_before_what_was_missed(cluster: Cluster, fresh: Fresh, api: Api, server: int) -> None:
    """Many channels recovered in one message: every reply comes at once, then each channel in order, with what is
    published meanwhile behind it."""
    channels = [fresh("open") for _ in range(4)]
    epochs = await _positions(cluster, channels)
    for channel in channels:
        await publish(api, channel, 1, 100)
    async with Narrow(cluster[server].port, 4 * RATE) as door, RawClient(door.url) as client:
        commands = [client.command("connect", token=token("ann"))]
        commands += [
            client.command("subscribe", channel=name, recover=True, offset=0, epoch=epochs[name]) for name in channels
        ]
        await client.send(*commands)
        for command in commands[1:]:
            result = (await client.reply(command["id"]))["subscribe"]
            assert (result["was_recovering"], result["recovered"], result.get("offset", 0)) == (True, True, 0)
            assert not result.get("publications")
        for channel in channels:
            await publish(api, channel, 101, 110)
        for channel in channels:
            await client.push("pub", channel, within=LONG, offset=110)
            assert offsets(client, channel) == list(range(1, 111))
        last = max(index for index, message in enumerate(client.received) if "subscribe" in message)
        first = min(index for index, message in enumerate(client.received) if "push" in message and _is_pub(message))
        assert last < first


def _is_pub(message: Message) -> bool:
    return "pub" in message["push"]


async def test_server_side_subscriptions_follow_the_connect_reply(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    """What is small is in it, all together up to a bound."""
    large, small = fresh("open"), fresh("open")
    epochs = await _positions(cluster, [large, small])
    await publish(api, large, 1, 200)
    await publish(api, small, 1, 3)
    async with Narrow(cluster[0].port, 2 * RATE) as door, RawClient(door.url) as client:
        known = {name: {"recover": True, "epoch": epoch, "offset": 0} for name, epoch in epochs.items()}
        result = await client.connect(token=token("ann", channels=[large, small]), subs=known)
        assert all(result["subs"][name]["recovered"] for name in (large, small))
        assert numbers([one["data"] for one in result["subs"][small]["publications"]]) == [1, 2, 3]
        assert "publications" not in result["subs"][large]
        await client.push("pub", large, within=LONG, offset=200)
        assert offsets(client, large) == list(range(1, 201))


def lose(cluster: Cluster, channel: str, count: int) -> None:
    """So many publications that are stored but that the channel layer has lost."""
    meta, stream = raw_keys(channel)
    with cluster.redis.client() as connection:
        for start in range(0, count, 500):
            pipeline = connection.pipeline(transaction=False)
            size = min(500, count - start)
            top = connection.hincrby(meta, "t", size)
            for offset in range(top - size + 1, top + 1):
                pipeline.xadd(
                    stream, {"d": b'{"data":{"n":%d,"filler":"%s"}}' % (offset, b"x" * SIZE)}, id=f"{offset}-0"
                )
            pipeline.execute()


@pytest.mark.parametrize(
    ("server", "lost"),
    [
        pytest.param(0, 9000, id="flotilla"),  # 13.8 MB
        pytest.param(2, 5000, id="daphne"),
        pytest.param(3, 5000, id="uvicorn"),
    ],
)
async def test_a_long_refill_drops_nobody_who_reads(
    cluster: Cluster, fresh: Fresh, api: Api, server: int, lost: int
) -> None:
    """Far more than may wait for a client: who is on a slow link gets all of it, and who is fast is not held up."""
    channel = fresh("long")
    async with (
        Narrow(cluster[server].port, 3 * 1024 * 1024) as door,
        RawClient(door.url) as slow,
        RawClient(cluster[server].url) as fast,
    ):
        for client in (slow, fast):
            await client.connect("ann")
            await client.subscribe(channel)
        await api.say(channel, {"n": 1})  # makes the stream
        await asyncio.to_thread(lose, cluster, channel, lost - 1)  # pings are answered meanwhile
        await api.say(channel, {"n": lost + 1})
        for client in (fast, slow):
            await client.push("pub", channel, within=LONG, offset=lost + 1)
        await api.say(channel, {"n": lost + 2})
        for client in (slow, fast):
            await client.push("pub", channel, within=LONG, offset=lost + 2)
            assert offsets(client, channel) == list(range(1, lost + 3))


async def test_who_reads_nothing_holds_nobody_up(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    """And is dropped."""
    channel, lost = fresh("long"), 5000
    async with (
        Narrow(cluster[0].port, 1024 * 1024) as door,
        RawClient(door.url, silent=True) as silent,
        RawClient(cluster[0].url) as fast,
    ):
        for client in (silent, fast):
            await client.connect("ann")
            await client.subscribe(channel)
        door.rate = 1
        await api.say(channel, {"n": 1})  # makes the stream
        await asyncio.to_thread(lose, cluster, channel, lost - 1)  # pings are answered meanwhile
        await api.say(channel, {"n": lost + 1})
        await fast.push("pub", channel, within=LONG, offset=lost + 1)
        assert offsets(fast, channel) == list(range(1, lost + 2))
        wish = cent.ChannelsRequest(pattern=channel)
        async with asyncio.timeout(LONG):
            while (await api.channels(wish)).channels[channel].num_clients > 1:
                await asyncio.sleep(0.1)
