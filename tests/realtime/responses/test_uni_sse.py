"""Listeners without any SDK: what they ask for, and what is theirs alone."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from flotilla.realtime.client.client import Client
from flotilla.realtime.client.states import State
from flotilla.realtime.node.node import Node, get_node
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.protocol.streams import as_they_are, stream_format
from flotilla.realtime.responses.exchange import Refused
from flotilla.realtime.responses.one_way import Listener
from flotilla.realtime.responses.uni_sse import OneWaySocket, _wanted, uni_sse
from tests.realtime.client.nodes import hurry
from tests.store.redis_process import until


class Response:
    """The response of a listener: keeps how long each part is. `waiting` is what its side has not acknowledged."""

    def __init__(self) -> None:
        self.on_slow: Callable[[], None] | None = None
        self.unsent = self.waiting = 0
        self.parts: list[int] = []

    def send(self, frame: Frame) -> None:
        self.parts.append(len(frame.wire))

    def close(self, code: int, reason: str = "") -> None:
        self.parts.append(0)


async def listening(node: Node, *channels: str) -> tuple[OneWaySocket, Client]:
    """A listener whose connect was answered; none of the channels was asked for."""
    socket = OneWaySocket(Listener(list(channels)))
    client = Client(node, socket, {"headers": []}, format=stream_format(JSON, as_they_are, False))  # type: ignore[arg-type]
    socket.client = client
    client.receive('{"id":1,"connect":{}}')
    await until(lambda: client.state is State.CONNECTED)
    return socket, client


def test_data_at_the_edge_of_what_can_be_nested_is_refused_or_passed_on() -> None:
    """Never an error of ours: what could just be read must be written one level deeper."""
    refused = 0
    for depth in range(sys.getrecursionlimit() // 2, sys.getrecursionlimit() + 1):
        try:
            _wanted({"headers": []}, {"data": ["[" * depth + "]" * depth]})
        except Refused as error:
            assert error.status == 400
            refused += 1
    assert refused


def test_a_newline_in_a_name_makes_no_command() -> None:
    _, message = _wanted({"headers": []}, {"channel": ['a\n{"id":9}']})
    assert len(message.split("\n")) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("has_ping", [True, False])
async def test_a_listener_is_there_that_has_acknowledged_the_ping(node: Node, has_ping: bool) -> None:
    """Where much is said something is always on its way to it, behind the ping."""
    hurry(node, pong_timeout=0.3)
    socket, client = await listening(node)
    response = Response()
    await socket.decided
    socket.begin(response, chunked=True)  # type: ignore[arg-type]
    client.next_ping = node.now()
    client.schedule()
    began = await until(lambda: node.stats.pings and len(response.parts))
    client.send(JSON.publication(JSON.channel("open:a"), b'{"data":1}', 0))
    await until(lambda: len(response.parts) > began)
    response.waiting = response.parts[-1] if has_ping else sum(response.parts[began - 1 :])
    if has_ping:
        await until(lambda: node.stats.pongs)
        assert client.state is State.CONNECTED
    else:
        await until(lambda: client.state is State.CLOSED)
        assert client.code == DisconnectCode.NO_PONG


@pytest.mark.asyncio
async def test_what_waits_for_the_start_is_bounded_in_bytes(node: Node) -> None:
    socket, client = await listening(node, "open:a")
    body = b'{"data":"%s"}' % (b"x" * 100_000)
    for _ in range(node.config.max_outgoing_bytes // len(body)):
        client.send(JSON.publication(JSON.channel("open:b"), body, 0))
    assert socket.unsent > len(body)
    assert client.state is State.CONNECTED
    client.send(JSON.publication(JSON.channel("open:b"), body, 0))
    await until(lambda: client.state is State.CLOSED)
    assert client.code == DisconnectCode.SLOW


@pytest.mark.asyncio
async def test_a_listener_that_leaves_as_it_is_answered_leaves_nothing(configured: Any) -> None:
    """Some servers raise then."""
    configured.ALLOWED_HOSTS = ["me.com"]
    headers = [(b"host", b"me.com")]
    scope = {"type": "http", "method": "GET", "query_string": b"", "headers": headers, "client": ["192.0.2.1", 1]}

    async def receive() -> Any:
        await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        raise OSError("gone")

    node = await get_node()
    try:
        assert await node.joined_within(10)
        with pytest.raises(OSError, match="gone"):
            await uni_sse(scope, receive, send)
        assert node.connections_opened == 1
        assert not node.clients
    finally:
        await node.close()
