"""How many clients may be on their way in at a time: after an outage all of them come back at once.

Whoever is let in is served well within the time its SDK waits for a reply; the others wait with their handshake
unanswered, where they cost little and no clock of theirs runs.

A place is for a client that asks to connect. One that is let in and says nothing keeps its place only while nobody
needs it more: it gives way at once to a client that asks and to a network that holds fewer places, after a while to
anybody. It stays connected; when it asks after all, it has its turn before those of its network whose handshake waits.
Networks (an address, or those of an IPv6 address) have their turns one after another, however many wait of one. Nobody
is held back while there is room: a whole storm from one address is let in as fast as the process manages.
"""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from flotilla.realtime.client.node import TooManyWait
from flotilla.realtime.node.peak_rate import Peak
from flotilla.realtime.server.networks import networks_of
from flotilla.realtime.server.shares import Path, Shares

PATIENCE = 1.0  # seconds a place is kept for a client that was let in, whatever it does, when others wait
# A few that say nothing give way sooner, for one who came last: if those before it say nothing either, it need not wait
# for all of them. Not many: in a storm most are only slow, and nobody serves all of them in time once they ask.
SOON = 0.2  # seconds
SOON_PART = 2  # half as many as there are places, each second; and while fewer than half of all have asked
SPARE = 8  # one place in so many is there beside them, for networks that hold none while others are served slowly

Turn = asyncio.Future[int]  # its result is the ticket


class Stands(Enum):
    """Where a client stands that was let in."""

    SILENT = auto()  # has a place, and has not asked to connect
    ASKING = auto()  # has a place, and its connect is being answered
    WITHOUT = auto()  # has said nothing, and its place is another's
    RETURNING = auto()  # asks to connect, and waits for a place again
    PAST = auto()  # its connect takes longer than `PATIENCE`: it has no place any more, and needs none


@dataclass(slots=True)
class Client:
    """One that was let in and has not connected yet. `give_up` ends its connection."""

    path: Path
    stands: Stands | None = None
    turn: Turn | None = None
    give_up: Callable[[], None] | None = None


class Admission:
    """At most `most` places, and at most `max_waiting` who wait for one, or are silent without one. Use it in one
    event loop."""

    def __init__(self, most: int, clock: Callable[[], float], max_waiting: int = 10_000) -> None:
        self.peak = Peak()  # of those let in
        self.refused = 0  # who found too many waiting
        self.gave_way = 0  # places taken from clients that said nothing
        self._most = most
        self._max_waiting = max_waiting
        self._held = False
        self._clock = clock
        self._tickets = itertools.count(1)
        self._clients: dict[int, Client] = {}  # by ticket
        self._since: dict[Stands, OrderedDict[int, float]] = {stands: OrderedDict() for stands in Stands}
        self._inside: Shares[int] = Shares()  # those who have a place
        self._silent: Shares[int] = Shares()
        self._without: Shares[int] = Shares()
        self._counted: dict[Stands, tuple[Shares[int], ...]] = {
            Stands.SILENT: (self._inside, self._silent),
            Stands.ASKING: (self._inside,),
            Stands.WITHOUT: (self._without,),
        }
        self._outside: Shares[Turn] = Shares()  # who waits; those who return are ahead
        self._returning: dict[Turn, int] = {}  # with their tickets
        self._handshakes: OrderedDict[Turn, tuple[Path, float]] = OrderedDict()  # the oldest first
        self._oldest: float | None = None  # since when the one waits who has waited longest
        self._soon_from = 0.0  # when the next one gives way sooner
        self._timer: asyncio.TimerHandle | None = None

    # Figures; any thread may ask

    @property
    def most(self) -> int:
        """The most let in within a second, over the last minute."""
        return self.peak.most(self._clock())

    @property
    def waiting(self) -> int:
        """How many wait with their handshake unanswered."""
        return len(self._handshakes)

    @property
    def longest_wait(self) -> float:
        """Seconds for which one of them has waited by now, at most."""
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, self._clock() - oldest)

    @property
    def silent(self) -> int:
        """How many were let in and have not asked to connect."""
        return self._silent.size + self._without.size

    # In

    async def enter(self, address: str = "") -> int:
        """Wait for a place; returns the ticket to give to `leave`. Raises TooManyWait."""
        turn = self.ask(address)
        try:
            return await turn
        except asyncio.CancelledError:
            self.withdraw(turn)
            raise

    def ask(self, address: str = "") -> Turn:
        """A turn to come in, which is done at once where there is room. Give it to `withdraw` if it is not waited for
        any more. Its exception is TooManyWait when too many wait."""
        path = networks_of(address)
        turn: Turn = asyncio.get_running_loop().create_future()
        if not self._held and not self._outside.size and self._inside.size < self._most:
            turn.set_result(self._let_in(path))
            return turn
        self._handshakes[turn] = (path, self._clock())
        self._outside.add(path, turn)
        self._came(path)
        return turn

    def withdraw(self, turn: Turn) -> None:
        """Its client is gone: it waits no more, and a place it has got is another's."""
        if turn in self._handshakes:
            self._forget(turn)
            turn.cancel()
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.leave(turn.result())

    def end_by(self, ticket: int, give_up: Callable[[], None]) -> None:
        """How the client's connection is ended when there are too many that say nothing."""
        client = self._clients.get(ticket)
        if client is not None:
            client.give_up = give_up

    async def connects(self, ticket: int) -> None:
        """The client asks to connect: wait for a place if its own is another's. Raises TooManyWait."""
        client = self._clients.get(ticket)
        if client is None:
            return
        if client.stands is Stands.SILENT:
            self._move(ticket, client, Stands.ASKING)
        elif client.stands is Stands.WITHOUT and not self._held:
            turn: Turn = asyncio.get_running_loop().create_future()
            client.turn = turn
            self._move(ticket, client, Stands.RETURNING)
            self._returning[turn] = ticket
            self._outside.add(client.path, turn, ahead=True)
            self._came(client.path, asks=True)
            await turn  # whoever ends this ends the client, and calls `leave`

    def leave(self, ticket: int) -> None:
        """The client has connected or is gone: its place is another's. Doing so twice does nothing."""
        client = self._clients.get(ticket)
        if client is None:
            return
        if client.turn is not None and client.turn in self._returning:
            self._forget(client.turn)
            client.turn.cancel()
        self._move(ticket, client, None)
        del self._clients[ticket]
        self._fill()

    # A drain

    def hold(self) -> None:
        """From now on nobody comes in but by `let_in`: the process drains, and sends them away at its own pace."""
        self._held = True
        for turn in list(self._returning):
            self._grant(turn)

    def let_in(self, count: int) -> None:
        """Let in so many of those who wait."""
        for _ in range(min(count, self._outside.size)):
            self._grant(self._outside.following().oldest)

    def open(self) -> None:
        """Let everybody in, now and from now on: nobody stays, the process ends."""
        self._most, self._held = 2**31, False
        self._fill()

    # Who is next

    def _came(self, path: Path, *, asks: bool = False) -> None:
        """One more waits; one that asks to connect goes before any that does not."""
        self._note_oldest()
        self._note_time()
        self._fill()
        if not self._held and self._outside.held(path) and self._gets_place(path, asks):
            self._grant(list(self._outside.along(path))[-1].oldest)
        if self._outside.size > self._max_waiting:
            self._refuse(self._outside.fullest().last)

    def _fill(self) -> None:
        """Let in as many as there is room for, and as give way."""
        while self._outside.size and not self._held:
            if self._inside.size < self._most:
                self._grant(self._outside.following().oldest)
                continue
            if not self._silent.size:
                break
            (silent, since), now = next(iter(self._since[Stands.SILENT].items())), self._clock()
            soon = since + PATIENCE > now
            if soon and (self._busy or max(since + SOON, self._soon_from) > now):
                break
            self._take_place(silent)
            turns = self._outside.following()
            self._grant(turns.newest if soon else turns.oldest)
            if soon:
                self._soon_from = now + SOON_PART / self._most
        self._watch()

    @property
    def _busy(self) -> bool:
        """Whether many have asked: then most of those who have not will."""
        return len(self._since[Stands.ASKING]) * SOON_PART >= self._most

    def _gets_place(self, path: Path, asks: bool) -> bool:
        """Whether a network gets a place though none is free."""
        victim = self._silent.fullest().oldest if asks and self._silent.size else self._one_of_more(path)
        if victim is not None:
            self._take_place(victim)
        spare = self._inside.size < self._most + max(1, self._most // SPARE)
        return victim is not None or (spare and not self._inside.held(path[:1]))

    def _one_of_more(self, path: Path) -> int | None:
        """A silent client of a network that holds more places than the one of `path` would; None where there is none.
        Networks are compared where they part: those of one provider among themselves."""
        inside, silent = self._inside, self._silent
        for name in path:
            fullest = silent.fullest_name
            if fullest is None:
                break
            if fullest != name:
                more = inside.held((fullest,)) > inside.held((name,)) + 1
                return silent.within(fullest).fullest().oldest if more else None
            inside, silent = inside.within(name), silent.within(name)
        return None

    # What changes

    def _let_in(self, path: Path) -> int:
        ticket = next(self._tickets)
        client = self._clients[ticket] = Client(path)
        self._move(ticket, client, Stands.SILENT)
        self.peak.note(self._clock())
        return ticket

    def _grant(self, turn: Turn) -> None:
        """Somebody who waits comes in, or comes in again."""
        ticket = self._returning.get(turn)
        path = self._forget(turn)
        if ticket is None:
            ticket = self._let_in(path)
        else:
            self._move(ticket, self._clients[ticket], Stands.ASKING)
        if not turn.done():
            turn.set_result(ticket)
        else:  # it was given up in this very turn of the loop
            self.leave(ticket)

    def _refuse(self, turn: Turn) -> None:
        self._forget(turn)
        self.refused += 1
        if not turn.done():
            turn.set_exception(TooManyWait())

    def _forget(self, turn: Turn) -> Path:
        """It waits no more; gives its path."""
        ticket = self._returning.pop(turn, None)
        path = self._handshakes.pop(turn)[0] if ticket is None else self._clients[ticket].path
        self._outside.remove(path, turn)
        self._note_oldest()
        return path

    def _take_place(self, ticket: int) -> None:
        self.gave_way += 1
        self._move(ticket, self._clients[ticket], Stands.WITHOUT)
        self._end_silent()

    def _move(self, ticket: int, client: Client, stands: Stands | None) -> None:
        """A client stands elsewhere from now on; None: it is gone."""
        if client.stands is not None:
            del self._since[client.stands][ticket]
            for shares in self._counted.get(client.stands, ()):
                shares.remove(client.path, ticket)
        client.stands = stands
        if stands is not None:
            self._since[stands][ticket] = self._clock()
            for shares in self._counted.get(stands, ()):
                shares.add(client.path, ticket)

    def _note_oldest(self) -> None:
        self._oldest = next(iter(self._handshakes.values()))[1] if self._handshakes else None

    # Time

    def _watch(self) -> None:
        """While somebody waits: look again when the next place is free by time alone."""
        if not self._outside.size or self._held:
            return
        loop = asyncio.get_running_loop()
        wait = max(0.0, self._next_look() - self._clock())
        if self._timer is not None:
            if self._timer.when() <= loop.time() + wait:
                return
            self._timer.cancel()
        self._timer = loop.call_later(wait, self._look)

    def _next_look(self) -> float:
        asking, silent = self._since[Stands.ASKING], self._since[Stands.SILENT]
        times = [next(iter(asking.values())) + PATIENCE] if asking else []
        if silent:
            since = next(iter(silent.values()))
            times.append(since + PATIENCE if self._busy else max(since + SOON, self._soon_from))
        return min(times, default=self._clock())

    def _look(self) -> None:
        self._timer = None
        self._note_time()
        self._fill()

    def _note_time(self) -> None:
        """Whose connect takes long needs no place any more."""
        asking, due = self._since[Stands.ASKING], self._clock() - PATIENCE
        while asking and next(iter(asking.values())) <= due:
            ticket = next(iter(asking))
            self._move(ticket, self._clients[ticket], Stands.PAST)

    def _end_silent(self) -> None:
        """End the oldest silent client of the network that has most of them, where there are too many."""
        if self._without.size > self._max_waiting:
            ticket = self._without.fullest().oldest
            client = self._clients[ticket]
            self._move(ticket, client, Stands.PAST)
            if client.give_up is not None:
                asyncio.get_running_loop().call_soon(client.give_up)  # it calls `leave`
