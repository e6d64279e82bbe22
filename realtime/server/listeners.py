"""Listening sockets: several processes on one address, each with a socket of its own, and an end that loses nobody.

The kernel spreads new connections over all sockets that listen with SO_REUSEPORT. A socket is made by the supervisor,
bound but not yet listening, so that nobody waits in the queue of a process that is still starting; the process listens
when it can serve. A queue that is dropped resets its connections: it is emptied before its socket is closed.
"""

import select
import socket
from typing import Any

BACKLOG = 4096  # connections that wait to be accepted; the kernel allows at most net.core.somaxconn


def bind(host: str, port: int) -> socket.socket:
    """A new socket bound to the address, shared with others that were made here. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" else 1)
        made.bind(address)
        return made
    except BaseException:
        made.close()
        raise


def without_delay(listener: socket.socket) -> None:
    """Have what is written leave at once, on every connection from here: also while what went before is unconfirmed."""
    if listener.family in (socket.AF_INET, socket.AF_INET6):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it


def reserve(host: str, port: int) -> socket.socket:
    """Find that the address is free, and keep its port: a bound socket that never listens and so gets nobody.

    Port 0 takes any free one. Raises OSError when another server listens there, even one that would share.
    """
    if port:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what merely lingers from before is no server
            probe.bind(address)
    return bind(host, port)


def adopt(reactor: Any, descriptor: int, factory: Any) -> Any:
    """Listen on a bound socket that was handed over, and serve it with a Twisted factory; gives the port object."""
    with socket.socket(fileno=descriptor) as handed:  # closed here: the port has its own copy, and must have the only
        handed.setblocking(False)
        without_delay(handed)
        handed.listen(BACKLOG)
        return reactor.adoptStreamPort(handed.fileno(), handed.family, factory)


def accept_queued_and_close(port: Any) -> None:
    """Accept every connection that waits on a Twisted port, then close it in the same turn of the loop.

    Twisted's own stopListening closes a turn later, and resets whoever came in between.
    """
    if not port.connected:
        return
    port.stopReading()
    poll = select.poll()
    poll.register(port.fileno(), select.POLLIN)
    for _ in range(BACKLOG):  # one or more at a time; bounded, should accepting fail
        if not poll.poll(0):
            break
        port.doRead()
    port.connectionLost(None)
