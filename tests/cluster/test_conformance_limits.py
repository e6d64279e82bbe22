"""Bounds and clocks: sizes, queues, slow, silent and late clients, pings."""

import asyncio
import itertools
import json
import socket
import time
from collections.abc import Callable

import pytest
import websockets

from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import PLAIN, Cluster
from tests.cluster.support.processes import PATIENCE, eventually
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.sdk import SdkClient

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]
MAX = 65536


def command_of(size: int, channel: str, filling: str = "x") -> str:
    """A publish command of exactly so many bytes."""
    bare = json.dumps({"id": 9, "publish": {"channel": channel, "data": ""}}, ensure_ascii=False)
    room = size - len(bare.encode())
    text = bare[:-3] + filling * (room // len(filling.encode())) + "y" * (room % len(filling.encode())) + bare[-3:]
    assert len(text.encode()) == size
    return text


@pytest.mark.parametrize("filling", ["x", "ü", "🚀"])
async def test_a_message_of_64_kb_is_taken_and_one_byte_more_closes_with_1009(
    cluster: Cluster, fresh: Fresh, filling: str
) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        await client.send_text(command_of(MAX, channel, filling))
        assert await client.reply(9) == {"id": 9, "publish": {}}
        await client.send_text(command_of(MAX + 1, channel, filling))
        assert (await client.closed())[0] == 1009


async def test_a_binary_message_is_not_spoken(cluster: Cluster) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        await client.socket.send(b'{"id":2,"rpc":{"method":"echo","data":1}}')
        assert (await client.closed())[0] == 3506


async def test_subprotocols(cluster: Cluster) -> None:
    async with RawClient(cluster[0].url, subprotocols=["centrifuge-json"]) as client:
        assert client.socket.subprotocol == "centrifuge-json"
        await client.connect("ann")
    with pytest.raises(websockets.InvalidStatus):
        async with RawClient(cluster[0].url, subprotocols=["centrifuge-morse"]):
            pass


async def test_plain_http_is_answered(cluster: Cluster) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster[0].port)
    writer.write(b"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 4")
    writer.close()
    await writer.wait_closed()


async def test_too_many_commands_at_once_close_with_3013(cluster: Cluster, fresh: Fresh) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        await client.send(*(client.command("presence", channel="quiet:a") for _ in range(900)))
        assert (await client.closed())[0] == 3013


async def test_a_client_that_does_not_connect_is_closed_with_3502(cluster: Cluster) -> None:
    async with RawClient(cluster[0].url) as client:
        started = time.monotonic()
        assert await client.closed() == (3502, "stale")
        assert time.monotonic() - started >= 2


async def test_a_client_that_does_not_answer_pings_is_closed_with_3012(cluster: Cluster) -> None:
    async with RawClient(cluster[0].url, silent=True) as silent, RawClient(cluster[0].url) as answers:
        await answers.connect("ann")
        await silent.connect("ann")
        assert (await silent.closed())[0] == 3012
        await eventually(lambda: len(answers.pings) >= 4, "the answering client is pinged on")
        await answers.round_trip()


async def test_a_client_that_does_not_read_is_closed_with_3008_and_harms_nobody(
    cluster: Cluster, fresh: Fresh, api: Api
) -> None:
    channel, total = fresh("open"), 150
    small = socket.create_connection(("127.0.0.1", cluster[0].port))
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    async with (
        RawClient(cluster[0].url, read=False, sock=small, ping_interval=None) as slow,
        RawClient(cluster[0].url) as reads,
    ):
        await reads.connect("ann")
        await slow.send({"id": 1, "connect": {"token": token("bob")}}, {"id": 2, "subscribe": {"channel": channel}})
        await reads.subscribe(channel)
        slow_client = await _other_than(reads, channel)
        for n in range(total):
            await api.say(channel, "x" * 60_000)
            await reads.push("pub", channel, offset=n + 1)
        left = await reads.push("leave", channel)
        assert left["info"]["client"] == slow_client
        if not PLAIN:  # other servers say the end only when the client has read all that is before it
            slow.begin_reading()
            await slow.closed()
        assert len(reads.publications(channel)) == total


async def _other_than(client: RawClient, channel: str) -> str:
    async with asyncio.timeout(PATIENCE):
        while True:
            members = (await client.call("presence", channel=channel))["presence"]["presence"]
            others = set(members) - {client.client}
            if others:
                return str(others.pop())


async def test_pings_come_on_idle_and_on_busy_connections(
    cluster: Cluster, fresh: Fresh, both: Callable[..., list[SdkClient]]
) -> None:
    """SDK clients that are patient for three seconds beyond the interval stay connected for longer than twice both."""
    channel = fresh("open")
    clients = both(cluster[0].url, lambda _: token("sdk"), max_server_ping_delay=3.0)
    for client in clients:
        await client.connect()
        await client.seen.event("connected")
    async with RawClient(cluster[0].url) as idle, RawClient(cluster[0].url) as busy:
        await idle.connect("ann")
        await busy.connect("bob")
        await busy.subscribe(channel)
        number = 0
        while min(len(idle.pings), len(busy.pings)) < 6:
            await busy.call("publish", channel=channel, data=number)
            number += 1
            assert number < 1_000_000
        for pinged in (idle, busy):
            gaps = [later - earlier for earlier, later in itertools.pairwise(pinged.pings)]
            assert 1 < sum(gaps) / len(gaps) < 5, gaps
    for client in clients:
        assert len(client.seen.named("connecting")) == 1
        await client.rpc("echo", 1)
