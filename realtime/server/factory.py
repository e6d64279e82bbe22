"""Twisted's factory: makes the protocol of a new connection, and ends those that last too long without reason.

A connection is *undecided* while its head has not come, *idle* between two requests, *busy* while it is answered or
ends. All of them are looked at every second; a connection that has become a WebSocket is no longer among them.
"""

import logging
import time
from typing import Any

from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory as TwistedFactory
from zope.interface import implementer

from flotilla.ratelimit.http.requests import is_trusted_proxy
from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.head import Head
from flotilla.realtime.server.http.answering import answering
from flotilla.realtime.server.http.connection import HttpConnection
from flotilla.realtime.server.http.request import Request
from flotilla.realtime.server.waiting_connections import WaitingConnections, new_waiting_connections

logger = logging.getLogger("flotilla.realtime.http")

MAX_UNDECIDED_OVER_TLS = 200  # new connections: each holds what a handshake needs, which may never end
HEAD_WITHIN = 5.0  # seconds a client has to send a request's head


@implementer(IProtocolNegotiationFactory)
class Factory(TwistedFactory):  # type: ignore[misc]
    """Makes the protocol of a new connection, and gives up those that do not say what they want."""

    noisy = False

    def __init__(self, server: Any) -> None:
        self.server = server
        self.server_name = (getattr(server, "server_name", "") or "").encode("latin-1")
        self.limits = get_server_config()
        self.waiting = new_waiting_connections()
        self._secure = WaitingConnections(MAX_UNDECIDED_OVER_TLS, MAX_UNDECIDED_OVER_TLS, is_trusted_proxy)
        self.requests: set[Request] = set()  # whose application runs
        self.busy: set[HttpConnection] = set()
        self._undecided: dict[HttpConnection, float] = {}  # in the order they came, or began a head
        self._idle: dict[HttpConnection, float] = {}
        self._addresses: dict[HttpConnection, str] = {}  # of the client behind a proxy, while it is answered

    def buildProtocol(self, addr: Any) -> HttpConnection:
        return HttpConnection(self, str(getattr(addr, "host", "")))

    def acceptableProtocols(self) -> list[bytes]:
        """Over TLS. HTTP/2 is for the balancer."""
        return [b"http/1.1"]

    def is_proxy(self, address: str) -> bool:
        """Whether it speaks for others."""
        return is_trusted_proxy(address)

    # Told by a connection

    def opened(self, connection: HttpConnection) -> None:
        """It is new."""
        self._undecided[connection] = time.monotonic()
        self.waiting.add(connection, connection.peer)
        if connection.is_secure:
            self._secure.add(connection, connection.peer)

    def begins_head(self, connection: HttpConnection) -> None:
        """Another request begins."""
        self._idle.pop(connection, None)
        self._undecided[connection] = time.monotonic()

    def decided(self, connection: HttpConnection) -> None:
        """It has said what it wants, or is gone."""
        self._undecided.pop(connection, None)
        self._idle.pop(connection, None)
        self.waiting.remove(connection)
        self._secure.remove(connection)

    def knows(self, connection: HttpConnection, address: str) -> None:
        """For whom the request is that has begun."""
        if address != connection.peer:
            self._addresses[connection] = address

    def idles(self, connection: HttpConnection) -> None:
        """A request is over, and none has begun."""
        self._idle[connection] = time.monotonic()
        self.waiting.add(connection, self._addresses.pop(connection, connection.peer))

    def rests(self, connection: HttpConnection) -> None:
        """Its time of being idle begins anew."""
        self._idle.pop(connection, None)
        self._idle[connection] = time.monotonic()

    def watch(self, connection: HttpConnection, busy: bool) -> None:
        """It is busy now, or no more."""
        for known in (self.busy, answering):
            if busy:
                known.add(connection)
            else:
                known.discard(connection)

    def gone(self, connection: HttpConnection) -> None:
        """It is closed, or a WebSocket."""
        self.decided(connection)
        self.watch(connection, False)
        self._addresses.pop(connection, None)

    def log(self, request: Request, peer: str) -> None:
        """Daphne's access log, where there is one."""
        if self.server.action_logger is not None:
            head = request.head
            details = {
                "path": (head.target + b"?" + head.query if _may_be_told(head) else head.target).decode("ascii"),
                "status": request.response.status,
                "method": head.method.decode("ascii"),
                "client": peer or None,
                "time_taken": time.monotonic() - request.began,
                "size": request.response.sent,
            }
            self.server.log_action("http", "complete", details)

    # Looked at every second

    def give_up_silent(self) -> None:
        """Close connections that have not sent a request in time; call it now and then."""
        now = time.monotonic()
        for waiting, within in ((self._undecided, HEAD_WITHIN), (self._idle, self.limits.http_keep_alive)):
            for connection, since in list(waiting.items()):
                if since > now - within:
                    break
                connection.expire(now)

    def look_after_busy(self, application_close_timeout: float) -> None:
        """End responses nobody reads and requests nobody answers; call it now and then."""
        now = time.monotonic()
        for connection in list(self.busy):
            connection.check(now)
        for request in list(self.requests):
            if request.is_over and now - request.over_since > application_close_timeout and request.task is not None:
                logger.warning("the application of a request that is over did not end, and was cancelled")
                request.over_since = now
                request.task.cancel()


def _may_be_told(head: Head) -> bool:
    """Whether there is a query, and none in which clients' tokens are."""
    return bool(head.query) and b"/connection/" not in head.target
