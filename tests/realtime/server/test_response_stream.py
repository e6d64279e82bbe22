"""A response that has no end takes its connection over: order, back-pressure, ends, and that nothing is left."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from flotilla.realtime.protocol.frames import Wire as Bytes
from flotilla.realtime.protocol.streams import chunk
from flotilla.realtime.server.factory import Factory
from flotilla.realtime.server.response_stream import EXTENSION, MAX_IGNORED, ResponseStream
from tests.realtime.server.wires import Server, Wire
from tests.waiting import until

REQUEST = b"GET /s HTTP/1.%d\r\nHost: a\r\n\r\n"


class Owner:
    """Keeps the codes that it is told."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    def closed(self, code: int) -> None:
        self.codes.append(code)


class Served:
    """One request of an application that streams."""

    def __init__(self, wire: Wire, version: int = 1, behind: bytes = b"") -> None:
        self.stream: ResponseStream | None = None
        self.owner = Owner()
        self.server = Server(self._run)
        self.factory = Factory(self.server)
        connection = self.factory.buildProtocol(None)
        wire.transport.protocol = connection
        connection.makeConnection(wire.transport)
        self.http = weakref.ref(connection)
        del connection
        wire.push(REQUEST % version + behind)

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        self.stream = scope["extensions"][EXTENSION].stream(200, [(b"x-a", b"b")])
        if self.stream is not None:
            self.stream.max_unsent = 100_000
            self.stream.adopt(self.owner)

    async def begun(self) -> ResponseStream:
        await until(lambda: self.stream is not None, "the response has begun")
        assert self.stream is not None
        return self.stream


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.end()


async def test_what_is_sent_comes_in_order_and_the_end_is_said(wire: Wire) -> None:
    served = Served(wire)
    stream = await served.begun()
    stream.send_soon(Bytes(chunk(b"one")))
    stream.send(Bytes(chunk(b"two")))
    stream.send_soon(Bytes(chunk(b"three")))
    await asyncio.sleep(0)
    stream.close(3001, "shutdown")
    stream.send(Bytes(chunk(b"four")))
    answer = wire.drain()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nx-a: b\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Connection: close" in head
    assert body == b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"
    assert served.server.open == []


async def test_http_10_ends_with_the_connection(wire: Wire) -> None:
    stream = await Served(wire, version=0).begun()
    stream.send(Bytes(b"one\n"))
    stream.close(1000)
    head, _, body = wire.drain().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body == b"one\n"


async def test_frames_go_to_the_socket_directly_while_nothing_waits(wire: Wire) -> None:
    stream = await Served(wire).begun()
    stream.send(Bytes(b"x"))
    assert stream.descriptor == wire.transport.fileno()
    stream.send(Bytes(b"y" * 50_000))
    assert stream.descriptor == -1
    assert stream.unsent > 0
    assert wire.drain().endswith(b"y" * 50_000)
    stream.send(Bytes(b"z"))
    assert stream.descriptor == wire.transport.fileno()


async def test_a_slow_client_is_told_of_once(wire: Wire) -> None:
    stream = await Served(wire).begun()
    slow: list[int] = []
    stream.on_slow = lambda: slow.append(1)
    for _ in range(10):
        stream.send(Bytes(b"x" * 50_000))
    assert slow == [1]


async def test_a_client_that_leaves_is_noticed(wire: Wire) -> None:
    served = Served(wire)
    await served.begun()
    await until(wire.read, "the head")
    wire.hang_up()
    assert served.owner.codes == [1000]
    assert served.server.open == []


async def test_what_a_client_says_behind_its_request_is_thrown_away_up_to_a_bound(wire: Wire) -> None:
    served = Served(wire)
    await served.begun()
    wire.push(b"x" * MAX_IGNORED)
    assert served.owner.codes == []
    wire.push(b"x")
    wire.drain()
    await until(lambda: served.owner.codes == [1006], "it is cut off")


async def test_nothing_of_the_request_is_left_while_it_lasts(wire: Wire) -> None:
    served = Served(wire)
    await served.begun()
    await until(lambda: not served.factory.requests and not served.factory.busy, "the application has ended")
    gc.collect()
    assert served.http() is None
