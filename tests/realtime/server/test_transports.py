"""What we read of Twisted: a change of its internals is noticed here, and not in production."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet import abstract, tcp, unix
from twisted.protocols import tls
from twisted.protocols.policies import ProtocolWrapper

from flotilla.realtime.server.transports import has_open_buffers, let_go, unsent
from tests.realtime.server.wires import Reactor, Wire

pytestmark = pytest.mark.asyncio


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.end()


def wrapped(transport: Any) -> ProtocolWrapper:
    """A wrapper around a transport, as TLS is one."""
    wrapper = ProtocolWrapper(None, None)  # type: ignore[arg-type]
    wrapper.transport = transport
    return wrapper


class TestTwisted:
    """Names and meaning of what we use. Where one of these fails, look at `transports` and at `Connection.send`."""

    async def test_buffers_are_where_we_look(self) -> None:
        descriptor = abstract.FileDescriptor(reactor=Reactor())  # type: ignore[arg-type]
        assert (descriptor.dataBuffer, descriptor.offset) == (b"", 0)
        assert (descriptor._tempDataBuffer, descriptor._tempDataLen) == ([], 0)
        for name in ("dataBuffer", "offset", "_tempDataBuffer", "_tempDataLen"):
            assert name in inspect.getsource(abstract.FileDescriptor.doWrite)

    async def test_writing_is_no_more_than_a_send_of_the_socket(self) -> None:
        """So that a direct one takes nothing away."""
        assert list(inspect.signature(tcp.Connection.writeSomeData).parameters) == ["self", "data"]
        assert "self.socket.send" in inspect.getsource(tcp.Connection.writeSomeData)

    async def test_unix_sockets_send_in_their_own_way_only_to_pass_descriptors(self) -> None:
        source = inspect.getsource(unix._SendmsgMixin.writeSomeData)
        assert "_sendmsgQueue" in source
        assert issubclass(unix.Server, tcp.Server)

    async def test_a_lost_connection_has_no_socket_and_its_protocol_hears_of_it(self) -> None:
        source = inspect.getsource(tcp.Connection.connectionLost)
        assert "del self.socket" in source
        assert "protocol.connectionLost(reason)" in source

    async def test_tls_is_a_wrapper_that_keeps_what_it_cannot_encrypt_yet(self) -> None:
        assert issubclass(tls.TLSMemoryBIOProtocol, ProtocolWrapper)
        assert issubclass(tls.BufferingTLSTransport, tls.TLSMemoryBIOProtocol)
        for method in (tls.TLSMemoryBIOProtocol.makeConnection, tls.TLSMemoryBIOProtocol._bufferedWrite):
            assert "self._appSendBuffer" in inspect.getsource(method)

    async def test_a_wrapper_lends_out_what_it_wraps(self, wire: Wire) -> None:
        """Why the buffers alone do not say that a transport may be passed by."""
        assert wrapped(wire.transport).dataBuffer == b""
        assert wrapped(wire.transport).TLS is False


async def test_plain_transports_may_be_passed_by_and_no_others(wire: Wire) -> None:
    assert has_open_buffers(wire.transport)
    assert not has_open_buffers(wrapped(wire.transport))
    assert not has_open_buffers(object())
    wire.transport.TLS = True  # as STARTTLS leaves it
    assert not has_open_buffers(wire.transport)


async def test_what_is_unsent_is_counted_through_every_layer(wire: Wire) -> None:
    assert unsent(wire.transport) == 0
    wire.transport.write(b"x" * 30_000)
    assert unsent(wire.transport) == 30_000
    wire.transport.doWrite()
    assert 0 < unsent(wire.transport) < 30_000
    left = unsent(wire.transport)
    outer = wrapped(wrapped(wire.transport))
    outer.transport._appSendBuffer = [b"abc", b"de"]
    assert unsent(outer) == left + 5
    wire.drain()
    assert unsent(outer) == 5


async def test_nothing_is_unsent_where_nothing_is_known() -> None:
    assert unsent(None) == unsent(object()) == 0


async def test_what_a_lost_transport_holds_is_let_go_in_every_layer(wire: Wire) -> None:
    """Its objects may live on until a garbage collection; the bytes must not."""
    wire.transport.write(b"x" * 30_000)
    wrapper = wrapped(wire.transport)
    wrapper._appSendBuffer = [b"y" * 1000]  # type: ignore[attr-defined]
    assert unsent(wrapper) == 31_000
    let_go(wrapper)
    assert unsent(wrapper) == 0
