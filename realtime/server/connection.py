"""One WebSocket of our server: frames in and out over Twisted's transport, from the handshake to the close.

It speaks ASGI to any application, but for one that takes it without (`flotilla.realtime.server.direct`). One that knows
it (`scope["extensions"]["flotilla.socket"]`, or the socket that it accepted) may *adopt* it: from then on messages are
handed over as they are read, and neither a task nor a queue is kept for the connection.

How it is written to is `flotilla.realtime.server.outgoing`'s matter.

What is read of a connection that was adopted is bounded as its receiver says (`Bounds`): a larger message is refused
with 1009 (of a compressed one, what it becomes counts, towards the budget as well), and who sends more than the budget
(`flotilla.realtime.server.budget`) is closed with 1008, or as the receiver says. Any other application has the server's
bounds, which are Daphne's: messages of 1 MiB, and as many as it takes; what it has not received stops the reading
(`flotilla.realtime.server.asgi`). Who floods it with frames of which it sees nothing (pings, pongs, tiny fragments) is
closed with 1008, and who answers no pings is given up (`flotilla.realtime.server.keepalive`). At most `MAX_PER_TURN`
frames are handled in a turn of the loop, whoever has the connection; nothing more is read until the rest was handled in
others.
"""

import asyncio
import logging
from collections.abc import Iterable
from enum import Enum, auto
from typing import Any, Protocol

from flotilla.realtime.protocol.frames import Frame, Wire, close_frame
from flotilla.realtime.server import handshake
from flotilla.realtime.server.asgi import AsgiSide
from flotilla.realtime.server.budget import Bounds, Budget
from flotilla.realtime.server.direct import DirectSide, taker
from flotilla.realtime.server.handshake import Handshake
from flotilla.realtime.server.incoming_frames import (
    FIN_BINARY,
    FIN_PING,
    FIN_TEXT,
    Opcode,
    Reader,
    Violation,
    close_code,
    text,
    whole_ping,
)
from flotilla.realtime.server.keepalive import Keepalive
from flotilla.realtime.server.outgoing import Outgoing
from flotilla.realtime.server.traffic import traffic
from flotilla.realtime.server.transports import let_go
from flotilla.realtime.server.turn import Turn
from flotilla.speedups import first_binary, first_text, framed

logger = logging.getLogger("flotilla.realtime.connection")

EXTENSION = "flotilla.socket"
CLOSE_WITHIN = 2.0  # seconds a client has to take its close frame and answer it
MAX_PER_TURN = 64  # frames, or commands
MAX_EARLY = 16 * 1024  # bytes that are kept of a client that does not wait until its handshake is answered
MAX_READ = 64 * 1024  # bytes of a reading
MAX_PONGS = 64 * 1024  # bytes that may wait for a client whose pings are answered
ABNORMAL = 1006
POLICY = 1008
INTERNAL = 1011


class State(Enum):
    """Where a connection stands."""

    CONNECTING = auto()  # the application has not said yet whether it takes it
    OPEN = auto()
    CLOSING = auto()  # our close frame is out
    FAILED = auto()  # so it is, and nothing that the client says is read: it broke the rules
    CLOSED = auto()


OPEN = State.OPEN  # looked at for every frame
_READING = (OPEN, State.CLOSING)
_PING, _PONG = Opcode.PING, Opcode.PONG


class Receiver(Protocol):
    """What an adopting application gives: all are called from the event loop and must not raise."""

    def receive(self, message: str | bytes) -> int | None:
        """Take a message; tell how many more there were in it, where one may hold several of the receiver's own."""

    def overrun(self) -> None:
        """The client sends more than a connection may: close it as the protocol spoken says. 1008 if it stays open."""

    def closed(self, code: int) -> None: ...


class Server(Protocol):
    """What a connection needs of its server."""

    application: Any
    bounds: Bounds  # of connections that nobody has adopted
    ping_interval: float  # seconds between pings to their clients; 0: none
    ping_timeout: float  # seconds that the answer may take
    turn: Turn

    def websocket_opened(self, connection: "Connection") -> None: ...

    def websocket_closed(self, connection: "Connection") -> None: ...


class Connection(Outgoing):
    """Twisted's protocol of the transport, ASGI's server of one WebSocket, and the socket of who adopted it."""

    __slots__ = (
        "_asgi",
        "_behind",
        "_budget",
        "_closing",
        "_inflates",
        "_most",
        "_paused",
        "_reader",
        "_receiver",
        "_server",
        "_state",
    )

    def __init__(self, server: Server, transport: Any, request: Handshake, scope: dict[str, Any]) -> None:
        super().__init__(transport, server.turn)
        self._server = server
        self._state = State.CONNECTING
        self._most = server.bounds.message
        self._inflates = False  # permessage-deflate was agreed on
        self._reader: Reader | None = None
        self._budget = Budget(server.bounds.allowance)
        self._behind: asyncio.Handle | None = None  # there is more to handle than one turn's worth: the next turn
        self._paused = False  # the application wants nothing more for now
        self._receiver: Receiver | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._asgi: AsgiSide | DirectSide | None = None
        server.websocket_opened(self)
        if request.rest:
            self._read(request.rest)
        self._begin(server.application, request.key, scope)

    def _begin(self, application: Any, key: bytes, scope: dict[str, Any]) -> None:
        """Have an application take it: without ASGI where it does that."""
        take = taker(application, scope)
        if take is not None:
            self._asgi = direct = DirectSide(self, key, scope)
            direct.run(take)
        else:
            scope["extensions"] = {EXTENSION: self, "websocket.http.response": {}}
            self._asgi = asgi = AsgiSide(self, key)
            asgi.run(application, scope)

    def adopt(self, receiver: Receiver, bounds: Bounds, inflates: bool = False) -> None:
        """From now on `receiver` gets what is read, within its bounds, and the application may return. `inflates`:
        compressed messages may come, as the handshake's answer has said."""
        asgi, self._asgi = self._asgi, None
        self._receiver = receiver
        self._most = bounds.message
        self._budget = Budget(bounds.allowance)
        self._inflates = inflates
        if self._reader is not None:
            self._reader.most, self._reader.inflates = bounds.message, inflates
        for event in asgi.release() if asgi is not None else ():
            if event["type"] == "websocket.receive":
                self._hand_over(event["bytes"] if event["text"] is None else event["text"])
            elif event["type"] == "websocket.disconnect":
                self._tell(event["code"])
        if self._direct is not None and hasattr(self._transport, "reader"):
            self._transport.reader = self  # what Twisted does around each reading costs more than to read

    # Out

    @property
    def is_connecting(self) -> bool:
        """Whether the handshake waits for its answer."""
        return self._state is State.CONNECTING

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""
        return self._state is OPEN

    def close(self, code: int, reason: str = "") -> None:
        """Close behind what was sent; nothing can be sent any more."""
        if self._state is not OPEN:
            return
        self._say_close(Wire(close_frame(code, reason)))
        self.pause(False)  # or the client's answer would not be read

    def _say_close(self, frame: Frame | Wire) -> None:
        self.on_slow = None
        self.send(frame)
        self._leave(State.CLOSING)
        self._end_within(CLOSE_WITHIN)

    def accept(self, key: bytes, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Open the connection, unless it is lost already."""
        if self._state is not State.CONNECTING:
            return
        response = Wire(handshake.acceptance(key, subprotocol, headers))
        traffic.http_out += len(response.wire)
        self._state = OPEN
        self.send(response)
        if self._reader is not None:  # the client did not wait for our answer
            self._fall_behind()

    def reject(self, response: bytes) -> None:
        """Refuse the handshake, unless the connection is lost already."""
        if self._state is not State.CONNECTING:
            return
        self._leave(State.CLOSING)
        traffic.http_out += len(response)
        self._transport.write(response)
        self._end_within(CLOSE_WITHIN)
        self._transport.loseConnection()

    def _leave(self, state: State) -> None:
        """Enter a state in which nothing can be sent."""
        self._state = state
        self.descriptor = -1

    def _end_within(self, seconds: float) -> None:
        self._closing = asyncio.get_running_loop().call_later(seconds, self._transport.abortConnection)

    # In (called by Twisted, or by the stream itself)

    def readable(self) -> bool:
        """Read what there is (`flotilla.realtime.server.streams.Reader`)."""
        try:
            data = self._transport.socket.recv(MAX_READ)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        try:
            self.dataReceived(data)
        except Exception:
            logger.exception("what a client sent could not be handled")
            self._transport.abortConnection()
        return True

    def dataReceived(self, data: bytes) -> None:
        traffic.websocket_in += len(data)
        if self._state is not OPEN or self._reader is not None:
            self._read(data)
        elif data and (data[0] == FIN_TEXT or data[0] == FIN_BINARY):
            self._read_whole(data)
        elif (payload := whole_ping(data)) is not None:
            if not self._budget.spend(1, len(data)) or not self._spend_unseen(1):
                self._overrun()
            elif data[0] == FIN_PING:
                self._answer([payload])
        else:
            self._read(data)

    def _read_whole(self, data: bytes) -> None:
        """Take the whole messages of one kind with which `data` begins, mostly all of it; a reader has what follows."""
        taken, left, is_text = 0, MAX_PER_TURN, data[0] == FIN_TEXT
        first = first_text if is_text else first_binary
        while left > 0 and (found := first(data, taken, self._most)) is not None:
            payload, end = found
            if not self._budget.spend(1, end - taken):
                self._overrun()
                return
            try:
                more = self._give(text(payload) if is_text else payload)
            except Violation as violation:
                self._violated(violation)
                return
            if more and not self._budget.spend(more, 0):
                self._overrun()
                return
            taken, left = end, left - 1 - more
            if taken == len(data):
                return
            if self._state is not OPEN:
                break
        self._read(data[taken:], left)

    def _read(self, data: bytes, left: int = MAX_PER_TURN) -> None:
        """Have a reader read. `left`: frames that may still be handled in this turn."""
        if self._state is State.FAILED:
            return
        if not self._budget.spend(1, len(data)):  # a piece in which nothing is whole counts as a frame
            self._overrun()
            return
        reader = self._reader
        if reader is None:
            reader = self._reader = Reader(self._most, self._inflates)
        reader.feed(data)
        if self._state is State.CONNECTING:
            if reader.waiting > min(self._most, MAX_EARLY):
                self._transport.abortConnection()  # nothing may be said before the handshake is answered
        elif left <= 0:
            self._fall_behind()
        elif self._behind is None:
            self._take_turn(reader, left)

    def _take_turn(self, reader: Reader, most: int) -> None:
        """Handle a turn's worth of what has come; if that is not all of it, go on in the loop's next turn."""
        reader.left = most
        try:
            self._handle(reader)
        except Violation as violation:
            self._violated(violation)
            return
        more, full = max(0, most - reader.left - 1), reader.full
        unseen, reader.unseen = reader.unseen, 0
        inflated, reader.inflated = reader.inflated, 0
        if ((more or inflated) and not self._budget.spend(more, inflated)) or not self._spend_unseen(unseen):
            self._overrun()
        elif reader.idle:
            self._reader = None
            self._catch_up()
        elif full:
            self._fall_behind()
        else:
            self._catch_up()

    def _fall_behind(self) -> None:
        """Read nothing more until what has come was handled."""
        if self._behind is None:
            self._transport.pauseProducing()
        else:
            self._behind.cancel()  # one at most
        self._behind = asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        if self._reader is None or self._state not in _READING:
            self._behind = None
        elif not self._paused:  # else `pause(False)` goes on
            self._take_turn(self._reader, MAX_PER_TURN)

    def _catch_up(self) -> None:
        if self._behind is not None:
            self._behind = None
            self.pause(self._paused)

    def _handle(self, reader: Reader) -> None:
        pings: list[bytes] = []
        try:
            while self._state in _READING and (message := reader.next()) is not None:
                opcode, payload = message
                if opcode is _PING:
                    pings.append(payload)
                elif opcode is not _PONG:
                    self._answer(pings)
                    self._on_message(opcode, payload)
        finally:
            self._answer(pings)

    def _answer(self, pings: list[bytes]) -> None:
        """Answer pings that came together with one call of the kernel; a client that does not read needs no answer."""
        if pings and self._state is OPEN and (self.descriptor >= 0 or self.unsent <= min(self._most, MAX_PONGS)):
            self.send(Wire(b"".join([framed(_PONG, payload) for payload in pings])))
        pings.clear()

    def _on_message(self, opcode: Opcode, payload: bytes) -> None:
        if opcode is Opcode.CLOSE:
            self._on_close(close_code(payload), payload)
        elif self._state is not OPEN:
            return
        elif opcode is Opcode.TEXT:
            self._hand_over(text(payload))
        else:
            self._hand_over(payload)

    def _spend_unseen(self, frames: int) -> bool:
        """Count frames of which an application sees nothing; False when they are more than a client may send. Where the
        connection was adopted, they are counted like all others."""
        return not isinstance(self._asgi, AsgiSide) or not frames or self._asgi.unseen.spend(frames, 0)

    def _count(self, more: int) -> None:
        """Messages that came within one: they are frames to the budget and to the turn."""
        if self._reader is not None:
            self._reader.left -= more  # counted at the end of the turn
        elif not self._budget.spend(more, 0):
            self._overrun()

    def _hand_over(self, message: str | bytes) -> None:
        if more := self._give(message):
            self._count(more)

    def _give(self, message: str | bytes) -> int:
        """Hand a message over; gives how many more there were in it."""
        if self._receiver is not None:
            return self._receiver.receive(message) or 0
        if self._asgi is not None:
            self._asgi.put_message(message)
        return 0

    def _on_close(self, code: int, payload: bytes) -> None:
        if self._state is OPEN:
            self._say_close(Frame(payload[:2], Opcode.CLOSE))
        self._transport.unregisterProducer()  # TLS would wait for it
        self._transport.loseConnection()
        self._tell(code)

    def _violated(self, violation: Violation) -> None:
        logger.info("a client broke the WebSocket protocol: %s", violation.reason)
        self._fail(violation.code, violation.reason)

    def _overrun(self) -> None:
        logger.info("a client sent more than a connection may")
        if self._state is State.CONNECTING:
            self._transport.abortConnection()
            return
        if self._state is OPEN and self._receiver is not None:
            self._receiver.overrun()
        self._fail(POLICY, "too many messages")

    def _fail(self, code: int, reason: str) -> None:
        """Close, and read what still comes only to throw it away: a client would not see our close otherwise."""
        self.close(code, reason)
        self._reader = None
        self._leave(State.FAILED)
        self._catch_up()
        self._tell(code)

    def connectionLost(self, reason: object) -> None:
        self._leave(State.CLOSED)
        self._soon = b""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._behind is not None:
            self._behind.cancel()
            self._behind = None
        self._reader = None
        self._server.websocket_closed(self)
        self._tell(ABNORMAL)
        self._direct = None  # it holds the socket
        let_go(self._transport)

    def _tell(self, code: int) -> None:
        """The connection is over: say so once to whom it belongs."""
        self.on_slow = None
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.closed(code)
        elif self._asgi is not None:
            self._asgi.put({"type": "websocket.disconnect", "code": code})

    def pause(self, paused: bool) -> None:
        """Read nothing more for now, or go on."""
        self._paused = paused
        if paused:
            self._transport.pauseProducing()
        elif self._behind is not None:
            self._fall_behind()
        elif self._state in (OPEN, State.CLOSING, State.FAILED):
            self._transport.resumeProducing()

    def throttle(self, producer: Any) -> None:
        """Have a producer (Twisted's IPushProducer) told when it should stop writing, and when it may go on."""
        self._transport.registerProducer(producer, True)

    # Keeping alive (realtime.server.keepalive)

    def keepalive(self) -> Keepalive | None:
        """Pings to the client, for an application that sends none itself; None where the server sends none."""
        server = self._server
        return Keepalive(self, server.ping_interval, server.ping_timeout) if server.ping_interval > 0 else None

    @property
    def heard(self) -> int:
        """A number that is another one whenever something was read, of a connection without a budget."""
        return self._budget.bytes_left

    def ping(self) -> None:
        """Send a ping, if something can be sent."""
        self.send(Wire(framed(_PING, b"")))

    def give_up(self) -> None:
        """Cut the connection off."""
        self._transport.abortConnection()

    def ended(self) -> None:
        """The application has returned; unless it has adopted the connection, this is its end."""
        if self._asgi is None:
            return
        self._asgi = None
        if self._state is State.CONNECTING:
            self.reject(handshake.refusal(500))
        else:  # if it has not been closed
            self.close(INTERNAL, "the application has ended")

    def kill(self) -> "asyncio.Task[None] | None":
        """End the application, for the server ends. Gives its task, unless there is none any more."""
        if self._asgi is None:
            return None
        task = self._asgi.task
        if task is not None:
            task.cancel()
        return task
