"""TLS to a Redis: what an address says of certificates, and the context that is made of it.

Making a context reads the authorities' certificates, which takes 0.15 s of a core where they are the system's. So one
context is made for all connections, and another when a file has changed, as happens when certificates are renewed.
"""

import os
import ssl
from dataclasses import dataclass
from typing import Any

from redis.asyncio.connection import SSLConnection as AsyncConnection
from redis.asyncio.sentinel import SentinelManagedConnection as AsyncManaged
from redis.connection import SSLConnection
from redis.sentinel import SentinelManagedConnection


@dataclass(frozen=True, slots=True)
class Tls:
    """How we use TLS: paths of files in PEM form; "" means the system's own (`ca`), or none (`cert`, `key`)."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    check_hostname: bool = True
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """The context for connections. Raises OSError (ssl.SSLError among them) where a file cannot be used."""
        files = tuple(os.stat(path).st_mtime_ns for path in (self.ca, self.cert, self.key) if path)
        known = _contexts.get(self)
        if known is None or known[0] != files:
            known = _contexts[self] = (files, self._made())
        return known[1]

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.verify and self.check_hostname
        context.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        if self.ca:
            context.load_verify_locations(cafile=self.ca)
        elif self.verify:
            context.load_default_certs()
        if self.cert:  # any password, even a wrong one, keeps OpenSSL from asking for one at the terminal
            context.load_cert_chain(self.cert, self.key or None, password="")
        return context


_contexts: dict[Tls, tuple[tuple[int, ...], ssl.SSLContext]] = {}


class AsyncTlsConnection(AsyncConnection):
    """A connection of coroutines with the shared context."""

    def __init__(self, *, tls: Tls, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> dict[str, Any]:
        self.ssl_context.context = self._tls.context()
        return dict(super()._connection_arguments())


class TlsConnection(SSLConnection):
    """A connection of threads with the shared context."""

    def __init__(self, *, tls: Tls, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        return self._tls.context().wrap_socket(sock, server_hostname=self.host)


class AsyncTlsMaster(AsyncManaged, AsyncTlsConnection):
    """The same to a master behind sentinels."""


class TlsMaster(SentinelManagedConnection, TlsConnection):
    """The same to a master behind sentinels."""
