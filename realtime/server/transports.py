"""What we read of Twisted's transports: what waits in their buffers.

`dataBuffer`, `offset`, `_tempDataBuffer`, `_tempDataLen` are twisted.internet.abstract.FileDescriptor's own, and
`_appSendBuffer` is twisted.protocols.tls.TLSMemoryBIOProtocol's; a test says so when they change. A TLS transport must
be written to in the ordinary way, for it encrypts; what waits is what it and the transport beneath it hold.
"""

from typing import Any

_BUFFERS = ("dataBuffer", "offset", "_tempDataBuffer", "_tempDataLen", "socket")


def has_open_buffers(transport: Any) -> bool:
    """Whether bytes may go to the transport's socket directly while its buffers are empty (TCP and Unix sockets)."""
    return all(hasattr(transport, name) for name in _BUFFERS) and not getattr(transport, "TLS", False)


def unsent(transport: Any) -> int:
    """Bytes the transport has accepted and the kernel has not taken."""
    waiting = 0
    while transport is not None:
        if hasattr(transport, "_tempDataLen"):
            return waiting + int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)
        waiting += sum(map(len, getattr(transport, "_appSendBuffer", ())))
        transport = getattr(transport, "transport", None)
    return waiting
