"""The beginning of every connection: is this a WebSocket, which we serve, or HTTP, which is Daphne's?

The first request's head decides. A WebSocket's handshake is read once, by us; anything else goes to Daphne's HTTP
channel untouched, together with the connection. An upgrade that comes later, behind plain requests on one connection,
comes back here by way of Daphne's `ws_factory`.
"""

import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from daphne.http_protocol import HTTPFactory
from daphne.utils import parse_x_forwarded_for
from twisted.internet.interfaces import ISSLTransport
from twisted.protocols.policies import ProtocolWrapper

from realtime.server import handshake
from realtime.server.connection import Connection
from realtime.server.door import door_of_this_process
from realtime.server.handshake import Handshake, Headers, Refused

logger = logging.getLogger("realtime.opening")

MOST_HEAD = 32 * 1024  # bytes of a request's head
HEAD_WITHIN = 5.0  # seconds a client has to send it
END = b"\r\n\r\n"


class Factory(HTTPFactory):  # type: ignore[misc]
    """Makes the protocol of a new connection, and gives up those that do not say what they want."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.door = door_of_this_process()
        self._undecided: dict[Opening, float] = {}  # in the order they came

    def buildProtocol(self, addr: Any) -> "Opening":
        opening = Opening(self, addr)
        self._undecided[opening] = time.monotonic()
        self.door.waits(opening, getattr(addr, "host", ""))
        return opening

    def http_protocol(self, addr: Any) -> Any:
        """Daphne's own."""
        return super().buildProtocol(addr)

    def decided(self, opening: "Opening") -> None:
        """It has said what it wants, or is gone."""
        self.door.leaves(opening)
        self._undecided.pop(opening, None)

    def give_up_silent(self) -> None:
        """Close connections that have not sent a request in time; call it now and then."""
        due = time.monotonic() - HEAD_WITHIN
        for opening, since in list(self._undecided.items()):
            if since > due:
                break
            opening.give_up()


class Upgrades:
    """Stands in for Daphne's WebSocket factory: Daphne has read an upgrade itself and gives it to us as text."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def buildProtocol(self, addr: Any) -> "Opening":
        return Opening(self._factory, addr, upgrade=True)


class Opening:
    """Twisted's protocol of a connection until its first request's head is there."""

    def __init__(self, factory: Factory, addr: Any, *, upgrade: bool = False) -> None:
        self.factory = factory
        self._addr = addr
        self._upgrade = upgrade
        self._data = b""
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        if self._upgrade:
            transport.unregisterProducer()  # Daphne's HTTP channel: it would be kept, and pause what is not its own

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(END, 0, MOST_HEAD)
        if self._upgrade or (end >= 0 and handshake.wants_upgrade(self._data[:end])):
            self._become_websocket()
        elif end >= 0 or len(self._data) >= MOST_HEAD or not self._data.startswith(b"GET "[: len(self._data)]):
            self._become_http()

    def connectionLost(self, reason: object) -> None:
        self.factory.decided(self)

    def give_up(self) -> None:
        """Close: what the client wants was not said in time."""
        self.factory.decided(self)
        if self.transport is not None:
            self.transport.abortConnection()

    def _become_http(self) -> None:
        self.factory.decided(self)
        protocol = self.factory.http_protocol(self._addr)
        self._hand_over(protocol)
        protocol.makeConnection(self.transport)
        protocol.dataReceived(self._data)

    def _become_websocket(self) -> None:
        self.factory.decided(self)
        server, transport = self.factory.server, self.transport
        try:
            request = handshake.read(self._data)
            scope = _scope(server, transport, request)
        except Refused as refused:
            logger.info("a handshake was refused: %s", refused)
            transport.write(refused.response)
            transport.loseConnection()
            return
        self._hand_over(Connection(server, transport, request, scope))

    def _hand_over(self, protocol: Any) -> None:
        if isinstance(self.transport, ProtocolWrapper):  # TLS is one
            self.transport.wrappedProtocol = protocol
        else:
            self.transport.protocol = protocol


def _scope(server: Any, transport: Any, request: Handshake) -> dict[str, Any]:
    """ASGI's scope of a WebSocket, as Daphne makes it."""
    headers = []
    root_path = server.root_path
    for name, value in request.headers:
        if name == b"daphne-root-path":
            root_path = unquote(value.decode("latin-1"))
        elif b"_" not in name:  # CVE-2015-0219
            headers.append((name, value))
    client, scheme = _client(server, transport, headers)
    return {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "wss" if scheme == "https" else "ws",
        "path": unquote(request.path.decode("ascii")),
        "raw_path": request.path,
        "root_path": root_path,
        "headers": headers,
        "query_string": request.query,
        "client": client,
        "server": _address(transport.getHost),
        "subprotocols": request.subprotocols,
    }


def _client(server: Any, transport: Any, headers: Headers) -> tuple[list[Any] | None, str]:
    """Who connects, and by which scheme a page would, as a trusted proxy says where there is one. Raises Refused."""
    client = _address(transport.getPeer)
    scheme = "https" if ISSLTransport(transport, None) is not None else "http"
    if server.proxy_forwarded_address_header:
        names = (
            server.proxy_forwarded_address_header,
            server.proxy_forwarded_port_header,
            server.proxy_forwarded_proto_header,
        )
        try:
            # the first of several counts
            client, scheme = parse_x_forwarded_for(dict(reversed(headers)), *names, client, scheme)
        except UnicodeDecodeError:
            raise Refused(400, "a forwarded address is not UTF-8") from None
    return client, scheme


def _address(ask: Callable[[], Any]) -> list[Any] | None:
    found = ask()
    return [str(found.host), found.port] if hasattr(found, "host") and hasattr(found, "port") else None
