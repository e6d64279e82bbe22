"""How many clients may be on their way in at a time: after an outage all of them come back at once.

Whoever is let in is served well within the time its SDK waits for a reply; the others wait with their handshake
unanswered, where they cost little and no clock of theirs runs. A client that was let in and then says nothing keeps its
place for a moment only.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable

from realtime.engine.peak import Peak

PATIENCE = 1.0  # seconds a place is kept for a client that does not ask to connect


class Admission:
    """At most `most` places; those who wait come in the order they came. Use it in one event loop."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self.peak = Peak()  # of those let in
        self._most = most
        self._held = False
        self._clock = clock
        self._tickets = itertools.count(1)
        self._inside: dict[int, float] = {}  # ticket → since when, the oldest first
        self._outside: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def most(self) -> int:
        """The most let in within a second, over the last minute. Any thread may ask."""
        return self.peak.most(self._clock())

    @property
    def waiting(self) -> int:
        """How many wait to be let in."""
        return len(self._outside)

    async def enter(self) -> int:
        """Wait for a place; returns the ticket to give to `leave`."""
        if self._held or len(self._inside) >= self._most:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._outside.append(turn)
            self._watch()
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._let_in()  # its turn had come: it is another's now
                raise
        ticket = next(self._tickets)
        self._inside[ticket] = now = self._clock()
        self.peak.note(now)
        return ticket

    def leave(self, ticket: int) -> None:
        """Give a place back. Doing so twice does nothing."""
        if self._inside.pop(ticket, None) is not None and not self._held:
            self._let_in()

    def hold(self) -> None:
        """From now on nobody comes in but by `let_in`: the process drains, and sends them away at its own pace."""
        self._held = True

    def let_in(self, count: int) -> None:
        """Let in so many of those who wait."""
        for _ in range(min(count, len(self._outside))):
            self._let_in()

    def open(self) -> None:
        """Let everybody in, now and from now on: nobody stays, the process ends."""
        self._most, self._held = 2**31, False
        while self._outside:
            self._let_in()

    def _let_in(self) -> None:
        while self._outside:
            turn = self._outside.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _watch(self) -> None:
        """While somebody waits: look at the oldest place when its time is over."""
        if self._timer is None and self._outside and self._inside:
            since = next(iter(self._inside.values()))
            wait = max(0.0, since + PATIENCE - self._clock())
            self._timer = asyncio.get_running_loop().call_later(wait, self._look)

    def _look(self) -> None:
        self._timer = None
        due = self._clock() - PATIENCE
        for ticket in [ticket for ticket, since in self._inside.items() if since <= due]:
            self.leave(ticket)
        self._watch()
