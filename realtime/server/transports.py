"""What we read of Twisted's transports: what waits in their buffers, and in the kernel behind them.

`dataBuffer`, `offset`, `_tempDataBuffer`, `_tempDataLen` are twisted.internet.abstract.FileDescriptor's own, and
`_appSendBuffer` and `_aggregator` are those of twisted.protocols.tls; a test fails when they change. A TLS transport
must be written to in the ordinary way, for it encrypts; what waits is what it and the transport beneath it hold. It
wraps that transport and shows all attributes of it as its own, so only its class tells that it is a wrapper.
"""

import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import Any

try:
    from twisted.protocols.policies import ProtocolWrapper
except ImportError:  # without the extra `daphne` no transport is one of Twisted's
    ProtocolWrapper = ()

UNSENT_IN_KERNEL = 128 * 1024  # bytes
_NOT_SENT = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_BUFFERS = ("dataBuffer", "offset", "_tempDataBuffer", "_tempDataLen", "socket")


def has_open_buffers(transport: Any) -> bool:
    """Whether bytes may go to the transport's socket directly while its buffers are empty (TCP and Unix sockets)."""
    if isinstance(transport, ProtocolWrapper) or getattr(transport, "TLS", False):
        return False
    return all(hasattr(transport, name) for name in _BUFFERS)


def hold_little(transport: Any) -> None:
    """Let the kernel take no more than what is on its way and a little more (Linux). Else it takes megabytes for a
    client that does not read, of memory that all sockets of a machine share."""
    _limit_unsent(transport, UNSENT_IN_KERNEL)


def hold_much(transport: Any) -> None:
    """Let the kernel take what it would by itself."""
    _limit_unsent(transport, 0)


def _limit_unsent(transport: Any, size: int) -> None:
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    if _NOT_SENT is not None and getattr(transport, "socket", None) is not None:
        with suppress(OSError):  # a Unix socket, or it is closed already
            transport.socket.setsockopt(socket.IPPROTO_TCP, _NOT_SENT, size)


def unsent(transport: Any) -> int:
    """Bytes the transport has accepted and the kernel has not taken."""
    waiting = 0
    while isinstance(transport, ProtocolWrapper):
        waiting += sum(map(len, vars(transport).get("_appSendBuffer", ())))
        transport = transport.transport
    if hasattr(transport, "_tempDataLen"):
        waiting += int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)
    return waiting


def in_flight(transport: Any) -> int:
    """Bytes that the kernel has taken and the other side has not acknowledged; 0 where the system does not tell."""
    try:
        (waiting,) = struct.unpack("i", fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4)))
    except (AttributeError, OSError, TypeError, ValueError):  # no socket, none any more, or another system
        return 0
    return int(waiting)


def cut_off(transport: Any) -> None:
    """End a connection with a reset: what the kernel takes at once is still sent, and then nothing that ends TLS in
    order, for that would make a part of a response look like all of it."""
    below = transport
    while isinstance(below, ProtocolWrapper):
        aggregator = vars(below).get("_aggregator")
        if aggregator is not None:
            aggregator.flush()
        below = below.transport
    if below is not transport and unsent(below):
        below.doWrite()
    below.abortConnection()


def let_go(transport: Any) -> None:
    """Free what a lost transport holds: TLS's objects hold one another until a garbage collection comes by."""
    while isinstance(transport, ProtocolWrapper):
        if "_appSendBuffer" in vars(transport):
            transport._appSendBuffer = []
        transport = transport.transport
    if hasattr(transport, "_tempDataLen"):
        transport.dataBuffer, transport.offset = b"", 0
        transport._tempDataBuffer, transport._tempDataLen = [], 0
