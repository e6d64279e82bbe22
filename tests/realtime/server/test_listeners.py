"""Sockets of one address: shared on purpose, never by accident, and left without resetting anybody."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from flotilla.realtime.server.listeners import accept_queued_and_close, bind, reserve, without_delay


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def port_of(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


def test_reserved_address_gets_no_connections(stack: ExitStack) -> None:
    kept = stack.enter_context(reserve("127.0.0.1", 0))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(kept)), timeout=5)


def test_connections_reach_only_the_sockets_that_listen(stack: ExitStack) -> None:
    kept = stack.enter_context(reserve("127.0.0.1", 0))
    stack.enter_context(bind("127.0.0.1", port_of(kept)))  # a process that is still starting
    serving = stack.enter_context(bind("127.0.0.1", port_of(kept)))
    serving.listen()
    for _ in range(50):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(kept)), timeout=5))
        accepted, _ = serving.accept()
        stack.enter_context(accepted)
        assert accepted.getpeername() == client.getsockname()


def test_what_is_written_on_an_accepted_connection_leaves_at_once(stack: ExitStack) -> None:
    serving = stack.enter_context(bind("127.0.0.1", 0))
    without_delay(serving)
    serving.listen()
    stack.enter_context(socket.create_connection(("127.0.0.1", port_of(serving)), timeout=5))
    accepted, _ = serving.accept()
    stack.enter_context(accepted)
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("shares", [False, True])
def test_address_where_another_server_listens_is_refused(stack: ExitStack, shares: bool) -> None:
    other = stack.enter_context(socket.socket())
    if shares:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    other.bind(("127.0.0.1", 0))
    other.listen()
    with pytest.raises(OSError, match="in use"):
        reserve("127.0.0.1", port_of(other))


def test_ipv6_address_can_be_shared_too(stack: ExitStack) -> None:
    try:
        kept = stack.enter_context(reserve("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    serving = stack.enter_context(bind("::1", port_of(kept)))
    serving.listen()
    stack.enter_context(socket.create_connection(("::1", port_of(kept)), timeout=5))


class Port:
    """As much of a Twisted port as leaving one needs."""

    connected = True

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.accepted: list[socket.socket] = []
        self.fileno = listener.fileno

    def stopReading(self) -> None:
        pass

    def doRead(self) -> None:
        self.accepted.append(self.listener.accept()[0])

    def connectionLost(self, reason: object) -> None:
        self.connected = False
        self.listener.close()


def test_queued_connections_are_accepted_before_the_listener_closes(stack: ExitStack) -> None:
    listener = stack.enter_context(bind("127.0.0.1", 0))
    listener.listen(64)
    address = listener.getsockname()
    clients = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in range(40)]
    port = Port(listener)
    accept_queued_and_close(port)
    for one in port.accepted:
        with one:
            one.sendall(b"hello")
    assert all(client.recv(5) == b"hello" for client in clients)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)
    accept_queued_and_close(port)  # once more does nothing
