"""Twisted's TLS, whose ends leave nothing behind.

A connection that ends in the middle of a handshake, or without TLS's own farewell, ends with an error. Twisted keeps
that error in the frame that its traceback holds: a circle, and all of OpenSSL's memory for the connection (100 KB)
hangs on it until the garbage collector comes by, which counts objects and not bytes.
"""

from typing import Any

from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure


class TlsTransport(BufferingTLSTransport):  # type: ignore[misc]
    """A connection's TLS."""

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:  # Twisted's name
        if reason is not None:
            reason.cleanFailure()
        super()._tlsShutdownFinished(reason)


def use_our_tls(port: Any) -> None:
    """Have a Twisted port that speaks TLS use it; any other is left alone."""
    if isinstance(port.factory, TLSMemoryBIOFactory):
        port.factory.protocol = TlsTransport
