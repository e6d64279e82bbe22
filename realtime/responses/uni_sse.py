"""`/connection/uni_sse`: server-sent events for a page that only listens, with a plain EventSource or with HTMX.

Query: `token` (of the connection), `channel` (any number; permissions as for any client), `subs` (a JSON object of
channels with `{"token"}` each), `data` (JSON for the connection), `events=channels` (each event is named after its
channel and holds the publication's own data; else it is a push of the protocol, unnamed), `last_event_id` (where the
page begins, as it was rendered; a browser that comes back says `Last-Event-ID`, which counts more).

A browser comes back by itself unless it is answered with another status than 200. So what will pass is answered with
200 and an end, and what will not with 4xx. Whether it is still there is known from what its side of TCP acknowledges.
"""

import asyncio
import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from flotilla.realtime.access.cors import header
from flotilla.realtime.client.client import Client
from flotilla.realtime.node.response_entrance import LEFT, open_client, see_off
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.protocol.streams import StreamFrame, as_they_are, stream_format
from flotilla.realtime.responses import one_way
from flotilla.realtime.responses.exchange import Gone, Receive, Refused, Scope, Send, answer, guarded, query_of
from flotilla.realtime.responses.one_way import MAX_ID, Listener, Position, Problem, Said
from flotilla.realtime.responses.opening import ResponseOpening
from flotilla.realtime.responses.sse import EVENTS
from flotilla.realtime.server.response_socket import ResponseSocket

TRANSPORT = "uni_sse"
COMES_BACK_AFTER = (500, 2500)  # milliseconds, at random: not all of an instance that ends at once
SENT_AWAY_FOR = 3000  # milliseconds, where a browser is to come again later
MAX_HELD = 1024  # messages that wait for the start of the response
LOOKS = (0.3, 0.6, 0.9)  # parts of the time for a pong, after which it is looked whether a ping has arrived
MAX_CHANNELS = 200

encode = msgspec.json.encode


class Wanted(msgspec.Struct):
    """What the query asks of one channel."""

    token: str = ""
    data: Any = None


class OneWaySocket:
    """A client's socket that makes events of what the client is sent, once it is known that there is a response."""

    __slots__ = ("_chunked", "_closed", "_given", "_held", "_inner", "_listener", "client", "decided", "on_slow")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._chunked = False
        self._inner: ResponseSocket | None = None
        self._held: list[bytes] = []
        self._given = 0  # bytes that the response was given
        self._closed = False
        self.client: Client | None = None
        self.decided: asyncio.Future[Problem | None] = asyncio.get_running_loop().create_future()
        self.on_slow: Callable[[], None] | None = None

    def adopt(self, receiver: object) -> None:
        """The response is adopted when it has begun."""

    def begin(self, inner: ResponseSocket, *, chunked: bool) -> None:
        """The response has begun."""
        self._inner, self._chunked = inner, chunked
        held, self._held = self._held, []
        self._write(b"retry: %d\n" % random.randint(*COMES_BACK_AFTER) + b"".join(held))
        if self._closed:
            inner.close(LEFT, "")

    @property
    def is_open(self) -> bool:
        """Whether the response has begun: its end is its client's."""
        return self._inner is not None

    @property
    def descriptor(self) -> int:
        """None: the ids of events are each listener's own."""
        return -1

    @property
    def unsent(self) -> int:
        if self._inner is not None:
            return self._inner.unsent
        return sum(map(len, self._held)) + self._listener.early_bytes

    @property
    def waiting(self) -> int:
        return self._inner.waiting if self._inner is not None else self.unsent

    def send(self, frame: Frame) -> None:
        for said in _read(frame):
            self._take(said)

    send_soon = send

    def _take(self, said: Said) -> None:
        if self._closed:
            return
        if not self.decided.done() and (problem := self._listener.problem(said)) is not None:
            self.decided.set_result(problem)
        if self.decided.done() and self.decided.result() is not None:
            return
        events = self._listener.events(said)
        if not self.decided.done() and self._listener.is_begun:
            fits = len(self._listener.id) <= MAX_ID
            self.decided.set_result(None if fits else Problem(400, "too many channels for one connection"))
        if events:
            self._write(b"".join(events))
        if self._inner is None and self._holds_too_much:
            self._end_with(DisconnectCode.SLOW)
        if said.is_ping:
            self._look_for_pong(0, self._given if self._inner is not None else sys.maxsize)
        elif one_way.must_begin_again(said):
            self._end_with(DisconnectCode.FORCE_RECONNECT)

    @property
    def _holds_too_much(self) -> bool:
        if len(self._held) + self._listener.early > MAX_HELD:
            return True
        return self.client is not None and self.unsent > self.client.node.config.max_outgoing_bytes

    def _write(self, events: bytes) -> None:
        if self._inner is not None:
            frame = StreamFrame(events, chunked=self._chunked)
            self._given += len(frame.wire)
            self._inner.on_slow = self.on_slow
            self._inner.send(frame)
        else:
            self._held.append(events)

    def _end_with(self, code: DisconnectCode) -> None:
        """Later: this may be the middle of a fan-out."""
        if self.client is not None:
            asyncio.get_running_loop().call_soon(self.client.disconnect, code)

    def _look_for_pong(self, looked: int, given: int) -> None:
        """A listener says nothing; what its side of the connection has acknowledged, it has got. `given`: bytes up to
        the ping, for where much is said something is always on its way, behind the ping."""
        client = self.client
        if client is None or self._closed:
            return
        if looked and self.waiting <= max(0, self._given - given):
            client.receive("{}")
        elif looked < len(LOOKS):
            pause = LOOKS[looked] - (LOOKS[looked - 1] if looked else 0.0)
            within = client.node.config.pong_timeout
            asyncio.get_running_loop().call_later(pause * within, self._look_for_pong, looked + 1, given)

    def close(self, code: int, reason: str) -> None:
        self._closed = True
        self.on_slow = None
        if not self.decided.done():
            self.decided.set_result(Problem(403, f"{reason} ({code})", again=code < 3500))
        if self._inner is not None:
            self._inner.close(code, reason)


_last: tuple[Frame | None, list[Said]] = None, []


def _read(frame: Frame) -> list[Said]:
    """What a frame says: one that goes to many listeners is read once."""
    global _last
    if _last[0] is not frame:
        _last = frame, one_way.read(frame.payload)
    return _last[1]


class ListenerOpening(ResponseOpening):
    """The request of a listener: it gets its place and its client first, and its response when all is answered."""

    __slots__ = ("_socket",)

    def __init__(self, scope: Scope, receive: Receive, send: Send, socket: OneWaySocket) -> None:
        super().__init__(scope, receive, send, EVENTS)
        self._socket = socket

    async def accept(
        self, subprotocol: str | None, max_unsent: int, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> Any:
        return self._socket

    async def reject(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        if status in (429, 503):
            await self.send_away()
        else:
            await super().reject(status, headers)

    async def send_away(self) -> None:
        """A browser comes back only to who has answered with 200."""
        headers = [(b"content-type", EVENTS), *self._cors()]
        await answer(self._send, 200, headers, b"retry: %d\n\n" % SENT_AWAY_FOR)

    async def begin(self, max_unsent: int) -> ResponseSocket:
        """The response. Raises Gone."""
        return await super().accept(None, max_unsent)


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    query = query_of(scope)
    listener, message = _wanted(scope, query)
    socket = OneWaySocket(listener)
    opening = ListenerOpening(scope, receive, send, socket)
    client = await open_client(opening, stream_format(JSON, as_they_are, False), TRANSPORT)
    if client is None:
        return
    socket.client = client
    try:
        client.receive(message)
        if await _is_decided(socket, opening):
            await _answer(socket, opening, client)
    except Gone:
        pass
    finally:
        if not socket.is_open:
            client.closed(LEFT)


async def _is_decided(socket: OneWaySocket, opening: ListenerOpening) -> bool:
    """Wait until it is known how the request is answered; False when there is nobody any more."""
    gone = opening.gone()
    try:
        await asyncio.wait((socket.decided, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    return socket.decided.done()


async def _answer(socket: OneWaySocket, opening: ListenerOpening, client: Client) -> None:
    problem = socket.decided.result()
    if problem is None:
        inner = await opening.begin(client.node.config.max_outgoing_bytes)
        socket.begin(inner, chunked=opening.is_chunked)
        inner.adopt(client)
        await see_off(opening, inner, client)
    elif problem.again:
        await opening.send_away()
    else:
        raise Refused(problem.status, problem.why)


def _wanted(scope: Scope, query: dict[str, list[str]]) -> tuple[Listener, str]:
    """The listener, and its first message. Raises Refused."""
    subs = _subs(query)
    id = (header(scope, b"last-event-id") or b"").decode("latin-1") or _one(query, "last_event_id")
    try:
        positions = one_way.positions_in(id)
    except ValueError as error:
        raise Refused(400, f"the last event's id is none of ours: {error}") from None
    token, data, events = _one(query, "token"), _one(query, "data"), _one(query, "events")
    if events not in ("", "channels", "pushes"):
        raise Refused(400, "events are pushes or channels")
    others = {name: _recover(at) for name, at in positions.items() if name not in subs}
    connect = {"name": "eventsource", "token": token, "subs": others}
    if data:
        connect["data"] = _json(data, Any)
    lines = [{"id": 1, "connect": connect}]
    for number, (name, wanted) in enumerate(subs.items(), 2):
        said = {"channel": name, "token": wanted.token, "recoverable": True}
        if wanted.data is not None:
            said["data"] = wanted.data
        lines.append({"id": number, "subscribe": said | (_recover(positions[name]) if name in positions else {})})
    try:
        message = "\n".join(encode(line).decode() for line in lines)
    except RecursionError:  # what could just be read is a little deeper here
        raise Refused(400, "the query is nested too deep") from None
    return Listener(list(subs), events == "channels"), message


def _recover(position: Position) -> dict[str, Any]:
    return {"recover": True, "offset": position.offset, "epoch": position.epoch}


def _subs(query: dict[str, list[str]]) -> dict[str, Wanted]:
    found = {name: Wanted() for name in (*query.get("channel", ()), *query.get("channels", ()))}
    if said := _one(query, "subs"):
        found |= _json(said, dict[str, Wanted])
    if len(found) > MAX_CHANNELS:
        raise Refused(400, f"a connection has at most {MAX_CHANNELS} channels")
    return found


def _json(text: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refused(400, f"the query cannot be read: {error}") from None


def _one(query: dict[str, list[str]], name: str) -> str:
    values = query.get(name, [""])
    if len(values) > 1:
        raise Refused(400, f"{name} is said more than once")
    return values[0]


uni_sse = guarded("GET", _serve)
