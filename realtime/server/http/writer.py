"""What a connection writes: straight to the kernel while that takes it, then to Twisted's buffer, which is bounded.

A connection gives it a method of its own, so the two hold each other: `let_go` ends that.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from flotilla.realtime.server.traffic import traffic
from flotilla.realtime.server.transports import has_open_buffers, in_flight, unsent

TURN = 64 * 1024  # bytes of a response that are written before others have their turn


class Writer:
    """Of one transport. Twisted calls it its producer, and has it pause when 64 KiB wait; `on_room` is called when
    there is room again."""

    __slots__ = ("_direct", "_on_room", "_room", "_throttled", "_transport", "_turn_began", "_written")

    def __init__(self, transport: Any, on_room: Callable[[], None]) -> None:
        self._transport = transport  # None: let go
        self._on_room: Callable[[], None] | None = on_room
        self._direct = transport.socket.send if has_open_buffers(transport) else None
        self._throttled = False  # the transport tells us when it is full
        self._room: asyncio.Event | None = None  # set when there is some again
        self._written = 0  # bytes, ever
        self._turn_began = 0  # `_written`, when others had their turn last

    def write(self, data: bytes) -> None:
        """Write behind what waits, straight to the kernel when nothing does."""
        transport = self._transport
        if not data or transport is None:
            return
        self._written += len(data)
        traffic.http_out += len(data)
        if self._direct is not None and not transport.dataBuffer and not transport._tempDataBuffer:
            try:
                taken = self._direct(data)
            except OSError:  # it takes nothing now, or is lost, which the reactor's own write notices and says
                taken = 0
            if taken == len(data):
                return
            data = data[taken:]
        if not self._throttled:
            self._throttled = True
            transport.registerProducer(self, True)
        transport.write(data)

    @property
    def is_full(self) -> bool:
        """Whether the transport has no room."""
        return self._room is not None

    async def has_room(self) -> None:
        """Wait until the transport has room again (64 KiB are Twisted's own bound).

        Others have their turn after each TURN bytes, also while the client takes everything at once.
        """
        if self._written - self._turn_began >= TURN:
            self._turn_began = self._written
            await asyncio.sleep(0)
        while self._room is not None:
            await self._room.wait()

    @property
    def unsent(self) -> int:
        """Bytes that were accepted but not yet taken by the kernel; 0 once it was let go."""
        return unsent(self._transport)

    @property
    def taken(self) -> int:
        """Bytes that the client has acknowledged, ever."""
        return self._written - self.unsent - in_flight(self._transport)

    def unthrottle(self) -> None:
        """Nobody need be told any more when the transport is full."""
        if self._throttled:
            self._throttled = False
            self._transport.unregisterProducer()

    def let_go(self) -> None:
        """The connection is lost, or another's: nothing is written any more, and who waits for room goes on."""
        self._direct = self._transport = self._on_room = None
        self.stopProducing()

    # Called by Twisted

    def pauseProducing(self) -> None:
        if self._room is None:
            self._room = asyncio.Event()

    def resumeProducing(self) -> None:
        self.stopProducing()
        if self._on_room is not None:
            self._on_room()

    def stopProducing(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()
