"""A stretch of network that can fail: a relay on loopback before one port.

While it is whole it only passes on. `cut` ends every connection and refuses new ones, `half_open` swallows what comes
on the connections that there are, without a word to either side, and `slow` delays each byte. The order of the bytes of
a connection is kept in every state, and a connection that lost some never gets any more.
"""

import asyncio
from collections import deque

HIGH = 1 << 18  # bytes waiting for one side, above which the other is not read from


class Link:
    """One port before another. Use `start` and `stop`; the states are `cut`, `half_open`, `slow` and `mend`."""

    def __init__(self, target: int, host: str = "127.0.0.1", port: int = 0) -> None:
        """`host`, `port`: where it listens; 0: at a port of its own."""
        self.target = target
        self.host = host
        self.port = port
        self.delay = 0.0
        self.refusing = False
        self.pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Side(self), self.host, self.port, backlog=1024)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End everything."""
        assert self._server is not None
        self._server.close()
        self.refusing = True
        self._abort(self.pairs)

    def cut(self) -> None:
        """End every connection and refuse new ones until mended."""
        self.refusing = True
        self._abort(self.pairs)

    def half_open(self) -> None:
        """From now on the connections that there are carry nothing, and do not end; new ones are whole."""
        for pair in self.pairs:
            pair.dead = True

    def slow(self, seconds: float) -> None:
        """Delay what comes from now on, in each direction."""
        self.delay = seconds

    def mend(self) -> None:
        """Whole again; a connection that lost bytes ends."""
        self.delay = 0.0
        self.refusing = False
        self._abort({pair for pair in self.pairs if pair.dead})

    @staticmethod
    def _abort(pairs: "set[_Pair]") -> None:
        for pair in tuple(pairs):
            pair.abort()


class _Pair:
    """Both ends of one connection."""

    def __init__(self, link: Link, front: "_Side") -> None:
        self.link = link
        self.front = front
        self.back: _Side | None = None
        self.dead = False
        link.pairs.add(self)
        self._joining = asyncio.get_running_loop().create_task(self._join())

    async def _join(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, back = await loop.create_connection(lambda: _Side(self.link, self), "127.0.0.1", self.link.target)
        except OSError:
            self.abort()
            return
        self.back = back
        self.front.other, back.other = back, self.front
        if self.front.gone:
            back.finish()
        elif self.front.transport is not None:
            self.front.transport.resume_reading()

    def abort(self) -> None:
        """End both sides hard."""
        self.link.pairs.discard(self)
        self._joining.cancel()
        for side in (self.front, self.back):
            if side is not None and side.transport is not None:
                side.waiting.clear()
                side.transport.abort()

    def lost(self, side: "_Side") -> None:
        """One side has ended: so does the other, unless that never learns of it."""
        if self.dead:
            return
        if side.other is not None:
            side.other.finish()
        if all(one is None or one.gone for one in (self.front, self.back)):
            self.link.pairs.discard(self)


class _Side(asyncio.Protocol):
    def __init__(self, link: Link, pair: _Pair | None = None) -> None:
        self._link = link
        self._pair = pair
        self.other: _Side | None = None
        self.transport: asyncio.Transport | None = None
        self.waiting: deque[tuple[float, bytes]] = deque()  # (when it goes out, what)
        self.gone = False
        self._finishing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(HIGH)
        if self._pair is None:
            if self._link.refusing:
                transport.abort()
                return
            transport.pause_reading()  # until the other end is there
            self._pair = _Pair(self._link, self)

    def data_received(self, data: bytes) -> None:
        assert self._pair is not None
        if self._pair.dead:
            return
        if self.other is not None:
            self.other.pass_on(data, self._link.delay)

    def pass_on(self, data: bytes, delay: float) -> None:
        """Write to this side, after `delay` seconds and after what waits already."""
        if self.gone or self.transport is None:
            return
        if not delay and not self.waiting:
            self.transport.write(data)
            return
        loop = asyncio.get_running_loop()
        self.waiting.append((loop.time() + delay, data))
        if len(self.waiting) == 1:
            loop.call_later(delay, self._due)

    def _due(self) -> None:
        loop = asyncio.get_running_loop()
        while self.waiting and self.transport is not None and not self.gone:
            due, data = self.waiting[0]
            if due > loop.time() + 0.0005:
                loop.call_at(due, self._due)
                return
            self.waiting.popleft()
            if self._pair is not None and not self._pair.dead:
                self.transport.write(data)
        if self._finishing and self.transport is not None:
            self.transport.close()

    def finish(self) -> None:
        """Close once everything is written."""
        self._finishing = True
        if not self.waiting and self.transport is not None:
            self.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        self.waiting.clear()
        if self._pair is not None:
            self._pair.lost(self)
