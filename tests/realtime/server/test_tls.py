"""Ends of TLS connections: what they held is free at once, not when the garbage collector comes by."""

import contextlib
import gc
import ssl
import weakref
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from flotilla.realtime.server.tls import use_our_tls
from tests.cluster.support.generic_server import self_signed


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(self_signed(tmp_path_factory.mktemp("tls")))


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Client:
    """The other side, in memory."""

    def __init__(self) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")

    def shake(self, answer: bytes = b"") -> bytes:
        """What it says next."""
        self._in.write(answer)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._out.read()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("rounds", [0, 1, 2])
@pytest.mark.parametrize("noise", [b"", b"\x16\x03\x03\x00\x05noise"])
def test_nothing_is_left_of_a_connection_that_ended(certificate: str, rounds: int, noise: bytes) -> None:
    """Before, during and after its handshake, without a farewell."""
    factory = TLSMemoryBIOFactory(
        DefaultOpenSSLContextFactory(certificate, certificate), False, Factory.forProtocol(Protocol)
    )
    use_our_tls(SimpleNamespace(factory=factory))
    transport, client = StringTransport(), Client()
    protocol = factory.buildProtocol(None)
    protocol.makeConnection(transport)
    for _ in range(rounds):
        said = client.shake(transport.value())
        transport.clear()
        protocol.dataReceived(said)
    if noise:
        protocol.dataReceived(noise)
    kept = weakref.ref(protocol._tlsConnection)
    protocol.connectionLost(Failure(ConnectionDone()))
    del protocol, transport
    factory.protocols.clear()
    assert kept() is None


def test_a_port_without_tls_is_left_alone() -> None:
    port = SimpleNamespace(factory=Factory.forProtocol(Protocol))
    use_our_tls(port)
    assert port.factory.protocol is Protocol
