"""Twisted's protocol of a connection of ours: one request after another, until it becomes a WebSocket or ends.

    WAITING    for a request's head, whether it is new or idle (`flotilla.realtime.server.waiting_connections`)
    ANSWERING  one request; what the client sends ahead is bounded, and so is what it does not read
    LINGERING  the last answer is out, its body's rest is read and thrown away, or the client would not see the answer
    CLOSING    what is written leaves, then the connection ends
    CLOSED

Nothing here waits without a bound: `check` is called every second, and looks at whatever could last.
"""

import logging
import time
from enum import Enum, auto
from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from flotilla.ratelimit.http.requests import address_of_scope
from flotilla.realtime.protocol.frames import Wire
from flotilla.realtime.server import handshake
from flotilla.realtime.server.conf import ServerConfig
from flotilla.realtime.server.connection import Connection
from flotilla.realtime.server.connection import Server as WebSocketServer
from flotilla.realtime.server.head import MAX_HEAD, Head, HeadReader, Refused
from flotilla.realtime.server.http.body import Body, Length, body_of
from flotilla.realtime.server.http.progress import Progress, Rate
from flotilla.realtime.server.http.request import Request, internal_error
from flotilla.realtime.server.http.scope import http_scope, websocket_scope
from flotilla.realtime.server.http.writer import Writer
from flotilla.realtime.server.response_stream import EXTENSION, ResponseStream
from flotilla.realtime.server.traffic import traffic
from flotilla.realtime.server.transports import cut_off, hold_little, hold_much, let_go

logger = logging.getLogger("flotilla.realtime.http")

LINGER = 5.0  # seconds, and
MAX_LINGERING = 64 * 1024 * 1024  # bytes that are read after the last answer
MAX_IGNORED = 64 * 1024  # bytes of a body that nobody wanted, for which a connection is kept
CLOSE_WITHIN = 5.0  # seconds until a connection ends when everything has left


class State(Enum):
    """Where a connection stands."""

    WAITING = auto()
    ANSWERING = auto()
    LINGERING = auto()
    CLOSING = auto()
    CLOSED = auto()


class Server(WebSocketServer, Protocol):
    """What a connection needs of its server."""

    root_path: str

    @property
    def is_leaving(self) -> bool:
        """Whether clients should connect elsewhere from now on."""


class Connections(Protocol):
    """Who looks after all connections of a server: what each tells and asks."""

    server: Server
    server_name: bytes
    limits: ServerConfig
    requests: set[Request]  # whose application runs

    def is_proxy(self, address: str) -> bool: ...

    def opened(self, connection: "HttpConnection") -> None: ...

    def begins_head(self, connection: "HttpConnection") -> None: ...

    def decided(self, connection: "HttpConnection") -> None: ...

    def knows(self, connection: "HttpConnection", address: str) -> None: ...

    def idles(self, connection: "HttpConnection") -> None: ...

    def rests(self, connection: "HttpConnection") -> None: ...

    def watch(self, connection: "HttpConnection", busy: bool) -> None: ...

    def gone(self, connection: "HttpConnection") -> None: ...

    def log(self, request: Request, peer: str) -> None: ...


@implementer(IHalfCloseableProtocol)
class HttpConnection:
    """A connection, from its first byte."""

    __slots__ = ("__weakref__", "_ahead", "_eof", "_head", "_holds_much", "_is_first", "_lingered", "_paused",
                 "_progress", "_rate", "_request", "_since", "_state", "_writer", "factory", "peer",
                 "transport")  # fmt: skip

    def __init__(self, factory: Connections, peer: str) -> None:
        self.factory = factory
        self.peer = peer  # "" for a Unix socket
        self.transport: Any = None
        self._state = State.WAITING
        self._head: HeadReader | None = HeadReader()
        self._is_first = True
        self._holds_much = True  # the kernel, of what is not sent: for a WebSocket, and until the first request
        self._ahead = b""  # what came before its turn
        self._request: Request | None = None
        self._eof = False  # the client will say nothing more
        self._paused = False  # nothing is read
        self._writer: Writer
        self._since = 0.0  # of the state
        self._lingered = 0
        self._progress = Progress()
        self._rate = Rate()

    # Called by Twisted

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self._writer = Writer(transport, self._go_on)
        self.factory.opened(self)

    def dataReceived(self, data: bytes) -> None:
        traffic.http_in += len(data)
        if self._state is State.WAITING:
            self._read_head(data)
        elif self._state is State.ANSWERING:
            self._read_behind(data)
        elif self._state is State.LINGERING:
            self._lingered += len(data)
            if self._lingered > MAX_LINGERING:
                self._lose()

    def readConnectionLost(self, reason: object = None) -> None:
        """The client will say nothing more; what it has asked for is still answered."""
        self._eof = True
        request = self._request
        if self._state is State.ANSWERING and request is not None:
            if not request.has_whole_body:
                self.abort("the client left before its request was whole")
        elif self._state is State.LINGERING:
            self._lose()
        elif self._state is State.WAITING:
            self._close()

    def writeConnectionLost(self, reason: object = None) -> None:
        """Our side is shut: we did that, to linger."""

    def connectionLost(self, reason: object = None) -> None:
        self._state = State.CLOSED
        self.factory.gone(self)
        request, self._request = self._request, None
        if request is not None:
            request.end()
        self._writer.let_go()
        let_go(self.transport)
        self.transport = self._head = None  # under TLS the transport holds this, and would be held by it
        self._ahead = b""

    # A head

    def _read_head(self, data: bytes) -> None:
        if self._head is None:
            self._head = HeadReader()
            self.factory.begins_head(self)
        try:
            head = self._head.feed(data)
            if head is None:
                return
        except Refused as refused:
            self.refuse(refused, head_only=self._head.is_of_head, accept=self._head.accept)
            return
        rest, self._head = self._head.rest, None
        self.factory.decided(self)
        try:
            if head.wants_websocket:
                self._become_websocket(head, rest)
            else:
                self._begin(head, rest)
        except Refused as refused:
            accept = head.named.get(b"accept", b"")
            self.refuse(refused, linger=bool(rest) or head.has_body, head_only=head.method == b"HEAD", accept=accept)

    def _begin(self, head: Head, rest: bytes) -> None:
        server = self.factory.server
        scope = http_scope(server, self.transport, head, self.is_secure)
        path = scope["path"].removeprefix(server.root_path)
        body: Body = body_of(head, self.factory.limits.max_body_at(path)) if head.has_body else Length(0)
        self.factory.knows(self, address_of_scope(scope) if self.factory.is_proxy(self.peer) else self.peer)
        request = self._request = Request(self, head, body)
        self._enter(State.ANSWERING)
        self._rate.reset()
        if not body.done:
            if rest:
                self._read_behind(rest)
        else:
            self._ahead = rest
        if self._state is State.ANSWERING:
            if self._holds_much:
                self._holds_much = False
                hold_little(self.transport)
            self.factory.requests.add(request)
            scope["extensions"] = {EXTENSION: request}
            request.run(server.application, scope)

    def _become_websocket(self, head: Head, rest: bytes) -> None:
        server, transport = self.factory.server, self.transport
        request = handshake.judge(head, rest)
        scope = websocket_scope(server, transport, head, self.is_secure, request.subprotocols)
        if self._eof:
            self._close()
            return
        self._leave_transport()
        _hand_over(transport, Connection(server, transport, request, scope))
        self.transport = None

    def become_stream(self, request: Request, head: bytes, last: bytes) -> ResponseStream | None:
        """The response to a request begins with `head` and has no end: it takes the connection over. `last` ends its
        body. None when the client is gone, or the request was answered meanwhile."""
        if self._request is not request or self._state is not State.ANSWERING:
            return None
        if self._eof:
            self.abort("the client left before its response began")
            return None
        transport = self.transport
        self._request = None
        request.end()
        self._ahead = b""
        self._leave_transport()
        stream = ResponseStream(self.factory.server, transport, last)
        _hand_over(transport, stream)
        self.transport = None
        traffic.http_out += len(head)
        stream.send_soon(Wire(head))
        return stream

    def _leave_transport(self) -> None:
        """What takes the connection over has bounds of its own."""
        transport = self.transport
        self._writer.unthrottle()
        if not self._holds_much:
            hold_much(transport)
        self._state = State.CLOSED
        self.factory.gone(self)
        self._writer.let_go()
        if self._paused:
            transport.resumeProducing()

    @property
    def is_secure(self) -> bool:
        """Whether it speaks TLS."""
        return isinstance(self.transport, ProtocolWrapper) or bool(getattr(self.transport, "TLS", False))

    # While a request is answered

    def _read_behind(self, data: bytes) -> None:
        request = self._request
        if request is None or request.has_whole_body:
            self._ahead += data
            if len(self._ahead) > MAX_HEAD:
                self._pause()
            return
        try:
            request.feed(data)
        except Refused as refused:
            self.refuse(refused)
            return
        if request.has_whole_body:
            self._ahead = request.take_rest()
            self._go_on()
        elif request.is_over:
            if request.received > MAX_IGNORED:
                self._close()
        elif request.is_full:
            self._pause()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def read_on(self) -> None:
        """Whoever was to take what was read has taken it."""
        if self._paused and self._state is not State.CLOSED:
            self._paused = False
            if not self._eof:
                self.transport.resumeProducing()

    @property
    def server_name(self) -> bytes:
        """What responses say of the server; b"" for nothing."""
        return self.factory.server_name

    def may_stay_open(self, body: Body) -> bool:
        """Whether another request may follow one with such a body."""
        if self.factory.server.is_leaving or (self._eof and not self._ahead):
            return False
        return body.done or (isinstance(body, Length) and body.left <= MAX_IGNORED)

    def write(self, data: bytes) -> None:
        """Write behind what waits."""
        self._writer.write(data)

    async def has_room(self) -> None:
        """Wait until the client has taken enough of what was written, and others had their turn."""
        await self._writer.has_room()

    # The end of a request

    def answered(self, request: Request) -> None:
        """The response is complete."""
        self.factory.log(request, self.peer)
        if self._request is request:
            self.read_on()
            self._go_on()

    def application_ended(self, request: Request, *, unfinished: bool) -> None:
        """Its task is over; `unfinished`: it left a response unsaid or incomplete, and the client is still there."""
        self.factory.requests.discard(request)
        if unfinished and self._request is request and self._state is State.ANSWERING:
            if request.response.has_begun:
                self.abort("its application ended before the response was complete")
            else:
                self.refuse(internal_error())
        self._go_on()

    def _go_on(self) -> None:
        """The next request, when this one is over in every respect."""
        request = self._request
        if self._state is not State.ANSWERING or request is None or not request.is_over:
            return
        if not request.response.keep or (self._eof and not self._ahead):
            self._close()
        elif request.task is None and request.has_whole_body and not self._writer.is_full:
            self._next()

    def _next(self) -> None:
        self._request = None
        self._writer.unthrottle()
        self._enter(State.WAITING)
        self._is_first = False
        self.factory.idles(self)
        self.read_on()
        data, self._ahead = self._ahead, b""
        if data:
            self._read_head(data)
        if self._eof and self._state is State.WAITING:
            self._close()

    # The end of the connection

    def refuse(self, refused: Refused, *, linger: bool = True, head_only: bool = False, accept: bytes = b"") -> None:
        """Answer what cannot be served, and close; cut the connection off when a response has begun already."""
        request = self._request
        if request is not None and request.response.has_begun:
            self.abort(str(refused))
            return
        self._log(f"{refused.status}, {refused}")
        if request is not None:
            head_only, accept = request.head.method == b"HEAD", request.head.named.get(b"accept", b"")
            request.end()
        response = refused.response(accept)
        if head_only:
            response = response[: response.index(b"\r\n\r\n") + 4]
        self.factory.decided(self)
        self.write(response)
        self._close(linger=linger)

    def _close(self, *, linger: bool = False) -> None:
        """End it behind what is written; `linger` when there is more to come that nobody reads."""
        if self._state in (State.CLOSING, State.CLOSED, State.LINGERING):
            return
        self.factory.decided(self)
        request = self._request
        unread = linger or self._paused or bool(self._ahead) or (request is not None and not request.has_whole_body)
        self._writer.unthrottle()
        self._ahead = b""
        if self._eof or not unread:
            self._lose()
            return
        self._enter(State.LINGERING)
        self.read_on()
        if not self.is_secure:  # TLS has no half of a close
            self.transport.loseWriteConnection()

    def _lose(self) -> None:
        self._enter(State.CLOSING)
        self.transport.loseConnection()

    def abort(self, why: str) -> None:
        """Cut it off: nothing that was sent shall look complete."""
        if self._state is not State.CLOSED and self.transport is not None:
            self._log(why)
            self.factory.decided(self)
            if self._request is not None:
                self._request.end()
            self._writer.unthrottle()
            self._enter(State.CLOSING)
            cut_off(self.transport)

    def give_up(self) -> None:
        """Its place is wanted by another."""
        if self._state is State.WAITING:
            self.abort("too many connections wait, and it is the oldest")

    def expire(self, now: float) -> None:
        """It has waited too long: for a head that does not come, or idle between two requests."""
        if self._state is not State.WAITING:
            return
        if self._head is not None and (self._head.begun or self._is_first):
            self.abort("the head of its request did not come in time")
        elif not self.unsent:
            self.factory.decided(self)
            self._lose()
        elif self._progress.stalled(now, self.unsent, self._writer.taken, self.factory.limits.stalled_after / 2):
            self.abort("it did not take its response")
        else:
            self.factory.rests(self)  # it is not idle: it still reads what it was answered

    def _log(self, why: str) -> None:
        logger.info("a connection of %s was closed: %s", self.peer or "a Unix socket", why)

    def _enter(self, state: State) -> None:
        self._state = state
        self._since = time.monotonic()
        self.factory.watch(self, state is not State.WAITING)

    # Looked at every second

    @property
    def unsent(self) -> int:
        """Bytes that were accepted but not yet taken by the kernel."""
        return self._writer.unsent

    @property
    def owes(self) -> bool:
        """Whether a response is on its way."""
        return self._state is State.ANSWERING or self.unsent > 0

    def check(self, now: float) -> None:
        """End what has lasted too long."""
        if self.transport is None:
            return
        waiting = self.unsent
        limits = self.factory.limits
        if self._progress.stalled(now, waiting, self._writer.taken if waiting else 0, limits.stalled_after):
            self.abort(f"it took less than 1 KB of its response in {limits.stalled_after:g} s")
        elif self._state is State.ANSWERING and self._request is not None:
            self._check_request(self._request, now)
        elif self._state is State.LINGERING and not waiting and now - self._since > LINGER:
            self._lose()
        elif self._state is State.CLOSING and not waiting and now - self._since > CLOSE_WITHIN + LINGER:
            self.transport.abortConnection()

    def _check_request(self, request: Request, now: float) -> None:
        limits = self.factory.limits
        if request.is_over:
            if not request.has_whole_body and now - request.over_since > LINGER:
                self._close()
        elif request.waits_for_client:
            if self._rate.too_slow(now, request.received, limits.http_least_body_rate):
                self.refuse(Refused(408, f"a body comes with {limits.http_least_body_rate} bytes a second at least"))
        else:
            self._rate.reset()
            if not request.response.started and now - request.since > limits.response_within:
                self.refuse(Refused(503, f"there was no response within {limits.response_within:g} s"))


def _hand_over(transport: Any, protocol: Any) -> None:
    if isinstance(transport, ProtocolWrapper):  # TLS is one
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol
