"""The beginning of connections: which become WebSockets, which stay HTTP, and that silence is not waited for."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.protocols.policies import ProtocolWrapper

from flotilla.realtime.server import factory as module
from flotilla.realtime.server.connection import Connection
from flotilla.realtime.server.factory import Factory
from flotilla.realtime.server.head import MAX_HEAD
from flotilla.realtime.server.http.connection import HttpConnection
from tests.raw_frames import TEXT, frame
from tests.realtime.server.wires import Server, Wire

pytestmark = pytest.mark.asyncio

HEAD = (
    b"GET /chat%20room?a=b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Beginnings:
    """A factory and the connection that it has made."""

    def __init__(self, wire: Wire, **options: Any) -> None:
        self.server = Server(self._application)
        vars(self.server).update(options)
        self.factory = Factory(self.server)
        self.wire = wire
        self.opening = self.factory.buildProtocol(None)
        wire.transport.protocol = self.opening
        self.opening.makeConnection(wire.transport)

    async def _application(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body"})

    @property
    def protocol(self) -> Any:
        return self.wire.transport.protocol

    def scope(self, *headers: bytes) -> dict[str, Any]:
        """The scope of a handshake with some headers more."""
        found: list[dict[str, Any]] = []

        async def application(scope: dict[str, Any], receive: Any, send: Any) -> None: ...

        def kept(scope: dict[str, Any], receive: Any, send: Any) -> Any:
            found.append(scope)
            return application(scope, receive, send)

        self.server.application = kept
        self.wire.push(HEAD + b"".join(header + b"\r\n" for header in headers) + b"\r\n")
        return found[0]


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.end()


async def test_a_handshake_becomes_a_websocket(wire: Wire) -> None:
    begun = Beginnings(wire)
    wire.push(HEAD + b"\r\n")
    assert isinstance(begun.protocol, Connection)
    assert not begun.factory._undecided


async def test_it_may_come_byte_by_byte(wire: Wire) -> None:
    begun = Beginnings(wire)
    data = HEAD + b"\r\n"
    for position in range(len(data) - 1):
        wire.push(data[position : position + 1])
        assert begun.protocol is begun.opening
    wire.push(data[-1:])
    assert isinstance(begun.protocol, Connection)


async def test_what_comes_with_it_does_not_count_as_its_head(wire: Wire) -> None:
    """However much it is."""
    begun = Beginnings(wire)
    wire.push(HEAD + b"\r\n" + frame(TEXT, b"x" * 40_000))
    assert isinstance(begun.protocol, Connection)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 "),
        (b"GET /websocket HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", b"HTTP/1.1 200 "),
        (b"POST / HTTP/1.1\r\nUpgr", b""),
        (b"PRI * HTTP/2.0\r\n\r\n", b"HTTP/1.1 505 "),
        (b"G\0", b"HTTP/1.1 400 "),
        (b"\x16\x03\x01", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nCookie: " + b"x" * MAX_HEAD, b"HTTP/1.1 431 "),
        (b"GET /" + b"x" * MAX_HEAD, b"HTTP/1.1 414 "),
        (b"GET / HTTP/1.1\nHost: a\n\n", b"HTTP/1.1 400 "),
    ],
)
async def test_all_else_is_http(wire: Wire, data: bytes, answer: bytes) -> None:
    """Piece by piece; what can become no request is answered before its end."""
    begun = Beginnings(wire)
    for piece in (data[:1], data[1:2], data[2:]):
        begun.protocol.dataReceived(piece)
    assert begun.protocol is begun.opening
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wire.drain().startswith(answer)
    assert bool(begun.factory._undecided) is not bool(answer)


async def test_an_improper_handshake_is_refused(wire: Wire) -> None:
    begun = Beginnings(wire)
    wire.push(HEAD.replace(b": 13", b": 8") + b"\r\n")
    assert wire.drain().startswith(b"HTTP/1.1 426 ")
    assert not begun.server.open
    assert not begun.factory._undecided
    assert not hasattr(wire.transport, "socket"), "it is closed"


async def test_a_connection_under_a_wrapper_is_handed_over_there(wire: Wire) -> None:
    """As under TLS."""
    begun = Beginnings(wire)
    wrapper = ProtocolWrapper(None, begun.opening)  # type: ignore[arg-type]
    wrapper.transport = wire.transport
    wire.transport.protocol = wrapper
    begun.opening.makeConnection(wrapper)
    wire.push(HEAD + b"\r\n")
    assert isinstance(wrapper.wrappedProtocol, Connection)
    assert wrapper.wrappedProtocol._direct is None


async def test_silence_is_given_up_and_nothing_else(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Beginnings(wire)
    younger = HttpConnection(begun.factory, "")
    now = time.monotonic()
    begun.factory._undecided = {begun.opening: now, younger: now + 1}
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.HEAD_WITHIN - 0.5)
    begun.factory.give_up_silent()
    assert len(begun.factory._undecided) == 2
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.HEAD_WITHIN + 0.5)
    begun.factory.give_up_silent()
    assert list(begun.factory._undecided) == [younger]
    assert not wire.is_reading


async def test_one_that_goes_away_is_forgotten(wire: Wire) -> None:
    begun = Beginnings(wire)
    wire.push(b"GET /")
    wire.hang_up()
    assert not begun.factory._undecided


class TestScope:
    async def test_it_says_what_was_asked_for(self, wire: Wire) -> None:
        scope = Beginnings(wire, root_path="/root").scope(b"Sec-WebSocket-Protocol: a, b", b"X-Any: \xe9")
        assert (scope["type"], scope["path"], scope["raw_path"]) == ("websocket", "/chat room", b"/chat%20room")
        assert (scope["query_string"], scope["root_path"], scope["subprotocols"]) == (b"a=b", "/root", ["a", "b"])
        assert scope["client"] == scope["server"] == ["192.0.2.1", 1234]
        assert (b"host", b"a") in scope["headers"]
        assert (b"x-any", b"\xe9") in scope["headers"]

    async def test_the_root_path_is_no_header_s_matter(self, wire: Wire) -> None:
        scope = Beginnings(wire).scope(b"Daphne-Root-Path: /foo%20bar")
        assert scope["root_path"] == ""
        assert b"daphne-root-path" not in dict(scope["headers"])

    async def test_names_with_underscores_are_dropped(self, wire: Wire) -> None:
        """They would become the same as those with hyphens."""
        scope = Beginnings(wire).scope(b"X_User: admin", b"X-User: ann")
        assert [pair for pair in scope["headers"] if b"user" in pair[0]] == [(b"x-user", b"ann")]

    PROXY = {
        "proxy_forwarded_address_header": "X-Forwarded-For",
        "proxy_forwarded_port_header": "X-Forwarded-Port",
        "proxy_forwarded_proto_header": "X-Forwarded-Proto",
    }

    async def test_a_proxy_is_believed_only_when_it_is_told_of(self, wire: Wire) -> None:
        scope = Beginnings(wire).scope(b"X-Forwarded-For: 198.51.100.7")
        assert scope["client"] == ["192.0.2.1", 1234]

    async def test_a_proxy_says_who_connects(self, wire: Wire) -> None:
        """Of several headers the first counts, as for plain requests."""
        lines = (b"X-Forwarded-For: 198.51.100.7, 10.0.0.1", b"X-Forwarded-For: 10.0.0.2", b"X-Forwarded-Port: 99")
        assert Beginnings(wire, **self.PROXY).scope(*lines)["client"] == ["198.51.100.7", 99]

    async def test_nonsense_of_a_proxy_is_refused(self, wire: Wire) -> None:
        Beginnings(wire, **self.PROXY)
        wire.push(HEAD + b"X-Forwarded-For: \xff\xfe\r\n\r\n")
        assert wire.drain().startswith(b"HTTP/1.1 400 ")
