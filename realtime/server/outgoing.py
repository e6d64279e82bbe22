"""What a client of our server is sent, whatever its connection is: bytes, in order, over Twisted's transport.

They go straight to the kernel while nothing waits before them, else behind what waits. What may go a little later
(`send_soon`) waits for the end of the loop's turn, so that a reply and what is published in the same turn leave in one
write. At most `max_unsent` bytes are held for a client that does not read: then `on_slow` is called, once.
"""

from collections.abc import Callable
from typing import Any

from flotilla.realtime.protocol.frames import Frame, Wire
from flotilla.realtime.server.transports import has_open_buffers, in_flight, unsent
from flotilla.realtime.server.turn import Turn

MAX_SOON = 16 * 1024  # bytes that wait for the end of the turn
_NOTHING = Wire(b"")


class Outgoing:
    """The way out of one connection. Who inherits says whether it is open, and keeps `descriptor` at -1 when it is
    not."""

    __slots__ = ("_direct", "_soon", "_transport", "_turn", "descriptor", "max_unsent", "on_slow")

    def __init__(self, transport: Any, turn: Turn) -> None:
        self._transport = transport
        self._turn = turn
        self._direct: Callable[[bytes], int] | None = transport.socket.send if has_open_buffers(transport) else None
        self._soon = b""  # sent before anything else, at the end of the turn at the latest: no `descriptor` until then
        self.descriptor = -1  # the socket's, when open, and nothing waited in the transport at the last look
        self.max_unsent = 0
        self.on_slow: Callable[[], None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""
        raise NotImplementedError

    @property
    def unsent(self) -> int:
        """Bytes that were accepted but not yet taken by the kernel."""
        return len(self._soon) + unsent(self._transport)

    @property
    def waiting(self) -> int:
        """`unsent`, and what the client's side has not acknowledged."""
        return self.unsent + in_flight(self._transport)

    def send(self, frame: Frame | Wire) -> None:
        """Send a frame; one that comes after the end is dropped."""
        if self.descriptor >= 0:  # called for nearly every frame: nothing here that need not be
            wire = frame.wire
            try:
                written = self._direct(wire)  # type: ignore[misc]
            except OSError:  # it takes nothing now, or is lost, which the reactor's own write notices and says
                written = 0
            if written != len(wire):
                self._write_behind(wire[written:])
        elif self.is_open:
            self._send_behind(frame)

    def send_soon(self, frame: Frame | Wire) -> None:
        """As `send`, but at the end of this turn of the loop, or with what is sent before that."""
        if not self.is_open:
            return
        if not self._soon:
            self.descriptor = -1
            self._turn.add(self)
        self._soon += frame.wire
        if len(self._soon) > MAX_SOON:
            self.flush()

    def flush(self) -> None:
        """Send what waits for the end of the turn."""
        if self._soon and self.is_open:
            self._send_behind(_NOTHING)

    def _send_behind(self, frame: Frame | Wire) -> None:
        """As `send`, when something waited at the last look."""
        if self._soon:
            frame, self._soon = Wire(self._soon + frame.wire), b""
        transport = self._transport
        if self._direct is None or transport.dataBuffer or transport._tempDataBuffer:
            self._write_behind(frame.wire)
        else:
            self.descriptor = transport.fileno()
            self.send(frame)

    def _write_behind(self, wire: bytes) -> None:
        transport = self._transport
        self.descriptor = -1
        transport.write(wire)
        if self.on_slow is not None and unsent(transport) > self.max_unsent:
            on_slow, self.on_slow = self.on_slow, None
            on_slow()
