"""Accepted connections on an epoll of their own: they behave as Twisted's, whatever their protocol does."""

import asyncio
import select
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from twisted.internet import tcp, unix
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory
from zope.interface import implementer

from flotilla.realtime.server.streams import MAX_ACCEPTED, Stream, accept_fast
from tests.waiting import until

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll on this system: Twisted's reactor is used"),
]


@implementer(IHalfCloseableProtocol)
class Echo:
    """Sends back what it gets; `fail` raises, `end` closes."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.ended: list[str] = []

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        if data == b"fail":
            raise RuntimeError("as it was asked to")
        self.transport.write(data)
        if data == b"end":
            self.transport.loseConnection()

    def readConnectionLost(self) -> None:
        self.ended.append("read")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        self.ended.append("write")

    def connectionLost(self, reason: Any) -> None:
        self.ended.append("lost")


class Reading:
    """Reads a protocol's stream in its place."""

    def __init__(self, protocol: Echo) -> None:
        self.protocol = protocol
        self.read: list[bytes] = []

    def readable(self) -> bool:
        self.read.append(self.protocol.transport.socket.recv(100))
        return bool(self.read[-1])


class Listening:
    """A port with the protocols of what it has accepted."""

    def __init__(self) -> None:
        self.protocols: list[Echo] = []
        factory = Factory()
        factory.buildProtocol = self._build
        self.reactor = AsyncioSelectorReactor(asyncio.get_running_loop())
        self.port = tcp.Port(0, factory, backlog=4096, interface="127.0.0.1", reactor=self.reactor)
        self.port.startListening()
        accept_fast(self.port)
        self.number = self.port.getHost().port

    def _build(self, address: Any) -> Echo:
        assert address.host == "127.0.0.1"
        self.protocols.append(Echo())
        return self.protocols[-1]

    async def client(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.number)


@pytest_asyncio.fixture
async def listening() -> AsyncIterator[Listening]:
    made = Listening()
    yield made
    made.port.stopReading()
    made.port.connectionLost(None)
    for protocol in made.protocols:
        if "lost" not in protocol.ended:
            protocol.transport.abortConnection()
    await asyncio.sleep(0)
    made.reactor.removeAll()


async def test_what_is_sent_comes_back(listening: Listening) -> None:
    reader, writer = await listening.client()
    for word in (b"one", b"two"):
        writer.write(word)
        assert await asyncio.wait_for(reader.readexactly(3), 10) == word
    (protocol,) = listening.protocols
    assert isinstance(protocol.transport, Stream)
    assert protocol.transport.getPeer().port == writer.get_extra_info("sockname")[1]
    assert protocol.transport.getHost().port == listening.number
    assert protocol.transport not in listening.reactor.getReaders()
    writer.close()


async def test_more_than_a_turn_accepts_all_come_in(listening: Listening) -> None:
    count = 2 * MAX_ACCEPTED + 5
    clients = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", listening.number))
        one.setblocking(False)
        clients.append(one)
    await until(lambda: len(listening.protocols) == count, "all are accepted")
    for one in clients:
        one.close()
    await until(lambda: all("lost" in one.ended for one in listening.protocols), "all ends are noticed")


async def test_what_the_client_does_not_take_waits_for_it(listening: Listening) -> None:
    reader, writer = await listening.client()
    writer.write(b"begin")
    assert await asyncio.wait_for(reader.readexactly(5), 10) == b"begin"
    sent = bytes(range(256)) * 40_000
    listening.protocols[0].transport.write(sent)
    assert await asyncio.wait_for(reader.readexactly(len(sent)), 30) == sent
    writer.write(b"again")
    assert await asyncio.wait_for(reader.readexactly(5), 10) == b"again"
    writer.close()


async def test_one_that_pauses_reads_nothing_and_goes_on(listening: Listening) -> None:
    reader, writer = await listening.client()
    await until(lambda: bool(listening.protocols), "it is accepted")
    transport = listening.protocols[0].transport
    transport.pauseProducing()
    writer.write(b"later")
    other = await listening.client()
    other[1].write(b"now")
    assert await asyncio.wait_for(other[0].readexactly(3), 10) == b"now"  # the loop has read all there was to read
    transport.resumeProducing()
    assert await asyncio.wait_for(reader.readexactly(5), 10) == b"later"
    writer.close()
    other[1].close()


async def test_one_that_fails_is_closed_and_the_others_are_not(
    listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await listening.client()
    other = await listening.client()
    writer.write(b"fail")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    assert "as it was asked to" in caplog.text
    other[1].write(b"well")
    assert await asyncio.wait_for(other[0].readexactly(4), 10) == b"well"
    writer.close()
    other[1].close()


async def test_ends_are_told_once(listening: Listening) -> None:
    """The server's, the client's half and whole."""
    reader, writer = await listening.client()
    writer.write(b"end")
    assert await asyncio.wait_for(reader.read(), 10) == b"end"
    half, half_writer = await listening.client()
    half_writer.write_eof()
    assert await asyncio.wait_for(half.read(), 10) == b""
    _, cut = await listening.client()
    cut.transport.abort()
    await until(lambda: len(listening.protocols) == 3, "all were accepted")
    await until(lambda: all(one.ended[-1:] == ["lost"] for one in listening.protocols), "all ends are told")
    assert [one.ended.count("lost") for one in listening.protocols] == [1, 1, 1]
    assert listening.protocols[1].ended == ["read", "lost"]
    writer.close()
    half_writer.close()


async def test_who_reads_by_itself_is_asked_to_and_the_end_is_found_all_the_same(listening: Listening) -> None:
    reader, writer = await listening.client()
    writer.write(b"one")
    assert await asyncio.wait_for(reader.readexactly(3), 10) == b"one"
    (protocol,) = listening.protocols
    protocol.transport.reader = reading = Reading(protocol)
    writer.write(b"two")
    await until(lambda: reading.read == [b"two"], "it has read")
    writer.close()
    await until(lambda: protocol.ended == ["read", "lost"], "its end is told")
    assert reading.read == [b"two", b""]
    assert protocol.transport.reader is None


async def test_unix_sockets_are_accepted_as_twisted_does(listening: Listening, tmp_path: Path) -> None:
    """They have no address to be counted by."""
    factory, accepted = Factory(), list[Echo]()

    def build(address: Any) -> Echo:
        accepted.append(Echo())
        return accepted[-1]

    factory.buildProtocol = build
    port = unix.Port(str(tmp_path / "socket"), factory, reactor=listening.reactor)
    port.startListening()
    accept_fast(port)
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
    writer.write(b"one")
    assert await asyncio.wait_for(reader.readexactly(3), 10) == b"one"
    writer.close()
    await until(lambda: accepted[0].ended[-1:] == ["lost"], "its end is told")
    port.stopReading()
    port.connectionLost(None)


async def test_an_abort_ends_it_at_once(listening: Listening) -> None:
    reader, writer = await listening.client()
    await until(lambda: bool(listening.protocols), "it is accepted")
    listening.protocols[0].transport.abortConnection()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 10)
    await until(lambda: listening.protocols[0].ended == ["lost"], "it is told")
    writer.close()
