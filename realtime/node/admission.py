"""Admission: how many clients may be on their way in at a time, for after an outage all of them come back at once.

A client is let in when there is a *place* for it, and gets a *ticket*, the number by which it is known here until it
has connected. One that is let in is served well within the time its SDK waits for a reply. The others wait with their
handshake unanswered, where they cost little and no timeout of theirs runs.

Places are for clients that ask to connect. One that is let in and says nothing may lose its place: at once to a client
that asks, or to a network that holds fewer places; after a while to anybody. It stays connected, and when it asks after
all, it has its turn before those of its network whose handshake waits. Networks (an address, or those of an IPv6
address) have their turns one after another, however many clients of one wait. Nobody waits while there is room: a whole
storm from one address is let in as fast as the process can serve it.
"""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from flotilla.realtime.client.node import TooManyWait
from flotilla.realtime.node.peak_rate import PeakRate
from flotilla.realtime.server.networks import networks_of
from flotilla.realtime.server.shares import Path, Shares

PATIENCE = 1.0  # seconds a client that was let in keeps its place, whatever it does, when others wait
# A few silent clients lose their place sooner, to the client that came last: those before it may all be silent, too.
# Only a few, for in a storm most are merely slow, and once they ask they cannot all be served in time.
SOON = 0.2  # seconds
SOON_PART = 2  # half as many as there are places, each second; and while fewer than half of all have asked
SPARE = 8  # one place in so many is added, for networks that hold none while others are served slowly

Turn = asyncio.Future[int]  # its result is the ticket


class Stage(Enum):
    """How far a client is that was let in."""

    __hash__ = object.__hash__  # for each client some tables are asked by it, and Enum's own is Python

    SILENT = auto()  # has a place, and has not asked to connect
    ASKING = auto()  # has a place, and its connect is being answered
    DISPLACED = auto()  # has said nothing, and lost its place to another
    RETURNING = auto()  # asks to connect, and waits for a place again
    SUBSCRIBING = auto()  # a client that is in asks for a channel
    SLOW = auto()  # its connect takes longer than `PATIENCE`: it holds no place any more, and needs none


@dataclass(slots=True)
class Newcomer:
    """A client that was let in and has not connected yet. `give_up` ends its connection."""

    path: Path
    stage: Stage | None = None
    turn: Turn | None = None
    give_up: Callable[[], None] | None = None


class Admission:
    """At most `max_places`, and at most `max_waiting` that wait for one, or are silent without one. Use it in one event
    loop."""

    def __init__(self, max_places: int, clock: Callable[[], float], max_waiting: int = 10_000) -> None:
        self.admitted = PeakRate()
        self.refused = 0  # handshakes: too many waited
        self.gave_way = 0  # silent clients that lost their place
        self._max_places = max_places
        self._max_waiting = max_waiting
        self._held = False
        self._clock = clock
        self._tickets = itertools.count(1)
        self._clients: dict[int, Newcomer] = {}  # by ticket
        self._since: dict[Stage, OrderedDict[int, float]] = {stage: OrderedDict() for stage in Stage}
        self._inside: Shares[int] = Shares()  # those that have a place
        self._silent: Shares[int] = Shares()
        self._displaced: Shares[int] = Shares()
        self._counted: dict[Stage | None, tuple[Shares[int], ...]] = {
            **dict.fromkeys((None, *Stage), ()),
            Stage.SILENT: (self._inside, self._silent),
            Stage.ASKING: (self._inside,),
            Stage.DISPLACED: (self._displaced,),
        }
        self._outside: Shares[Turn] = Shares()  # those that wait; within a network first those that were let in before
        self._returning: dict[Turn, int] = {}  # with their tickets
        self._handshakes: OrderedDict[Turn, tuple[Path, float]] = OrderedDict()  # the oldest first
        self._oldest: float | None = None  # when the handshake began to wait that has waited longest
        self._soon_from = 0.0  # when the next client may lose its place sooner
        self._timer: asyncio.TimerHandle | None = None

    # Figures; any thread may ask

    @property
    def peak(self) -> int:
        """How many were let in within the fullest second of the last minute."""
        return self.admitted.most(self._clock())

    @property
    def waiting(self) -> int:
        """How many wait with their handshake unanswered."""
        return len(self._handshakes)

    @property
    def longest_wait(self) -> float:
        """Seconds for which the oldest of them has waited by now."""
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, self._clock() - oldest)

    @property
    def silent(self) -> int:
        """How many were let in and have not asked to connect."""
        return self._silent.size + self._displaced.size

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
        """A future ticket, done at once where there is room; its exception is TooManyWait when too many wait. Give it
        to `withdraw` when nobody waits for it any more."""
        path = networks_of(address)
        turn: Turn = asyncio.get_running_loop().create_future()
        if not self._held and not self._outside.size and self._has_place:
            turn.set_result(self._let_in(path))
            return turn
        self._handshakes[turn] = (path, self._clock())
        self._outside.add(path, turn)
        self._came(path)
        return turn

    def withdraw(self, turn: Turn) -> None:
        """The client is gone: it does not wait any more, and if it has a place, that is free."""
        if turn in self._handshakes:
            self._forget(turn)
            turn.cancel()
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self.leave(turn.result())

    def end_by(self, ticket: int, give_up: Callable[[], None]) -> None:
        """Call `give_up` to end the client's connection when too many stay silent."""
        client = self._clients.get(ticket)
        if client is not None:
            client.give_up = give_up

    async def connects(self, ticket: int) -> None:
        """The client asks to connect: wait for a place if it has lost its own. Raises TooManyWait."""
        client = self._clients.get(ticket)
        if client is None:
            return
        if client.stage is Stage.SILENT:
            self._move(ticket, client, Stage.ASKING)
        elif client.stage is Stage.DISPLACED and not self._held:
            turn: Turn = asyncio.get_running_loop().create_future()
            client.turn = turn
            self._move(ticket, client, Stage.RETURNING)
            self._returning[turn] = ticket
            self._outside.add(client.path, turn, ahead=True)
            self._came(client.path, asks=True)
            await turn  # who cancels this ends the client, and calls `leave`

    def leave(self, ticket: int) -> None:
        """The client has connected or is gone: its place is free. Calling it again does nothing."""
        client = self._clients.get(ticket)
        if client is None:
            return
        if client.turn is not None and client.turn in self._returning:
            self._forget(client.turn)
            client.turn.cancel()
        self._move(ticket, client, None)
        del self._clients[ticket]
        self._fill()

    # Who is in, and asks for channels

    def begins(self) -> int:
        """A client that is in asks for a channel: that takes a place, though it waits for none, until `ends` is called
        with the ticket that this gives. So those who come wait for those who are in, and are not all served slowly."""
        ticket = next(self._tickets)
        self._since[Stage.SUBSCRIBING][ticket] = self._clock()
        return ticket

    def ends(self, ticket: int) -> None:
        """It was answered."""
        if self._since[Stage.SUBSCRIBING].pop(ticket, None) is not None and self._outside.size:
            self._fill()

    @property
    def _has_place(self) -> bool:
        return self._inside.size + len(self._since[Stage.SUBSCRIBING]) < self._max_places

    # A drain

    def hold(self) -> None:
        """The process drains: from now on clients come in by `let_in` alone, and are sent away at the drain's pace."""
        self._held = True
        for turn in list(self._returning):
            self._grant(turn)

    def let_in(self, count: int) -> None:
        """Let in so many of those that wait."""
        for _ in range(min(count, self._outside.size)):
            self._grant(self._outside.following().oldest)

    def open(self) -> None:
        """The process ends: let everybody in, now and from now on, so that each is told."""
        self._max_places, self._held = 2**31, False
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
        """Let in as many as there are places, free ones and those that silent clients lose."""
        while self._outside.size and not self._held:
            if self._has_place:
                self._grant(self._outside.following().oldest)
                continue
            if not self._silent.size:
                break
            (silent, since), now = next(iter(self._since[Stage.SILENT].items())), self._clock()
            soon = since + PATIENCE > now
            if soon and (self._busy or max(since + SOON, self._soon_from) > now):
                break
            self._take_place(silent)
            turns = self._outside.following()
            self._grant(turns.newest if soon else turns.oldest)
            if soon:
                self._soon_from = now + SOON_PART / self._max_places
        self._watch()

    @property
    def _busy(self) -> bool:
        """Whether many have asked: then most of the others will."""
        return len(self._since[Stage.ASKING]) * SOON_PART >= self._max_places

    def _gets_place(self, path: Path, asks: bool) -> bool:
        """Whether a network gets a place though none is free."""
        victim = self._silent.fullest().oldest if asks and self._silent.size else self._one_of_more(path)
        if victim is not None:
            self._take_place(victim)
        spare = self._inside.size < self._max_places + max(1, self._max_places // SPARE)
        return victim is not None or (spare and not self._inside.held(path[:1]))

    def _one_of_more(self, path: Path) -> int | None:
        """A silent client of a network that holds more places than that of `path` will; None where there is none. Of
        two addresses the largest networks that differ are compared: those of one provider with one another."""
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
        client = self._clients[ticket] = Newcomer(path)
        self._move(ticket, client, Stage.SILENT)
        self.admitted.note(self._clock())
        return ticket

    def _grant(self, turn: Turn) -> None:
        """One that waits comes in, or gets a place again."""
        ticket = self._returning.get(turn)
        path = self._forget(turn)
        if ticket is None:
            ticket = self._let_in(path)
        else:
            self._move(ticket, self._clients[ticket], Stage.ASKING)
        if not turn.done():
            turn.set_result(ticket)
        else:  # its client went in this same turn of the loop
            self.leave(ticket)

    def _refuse(self, turn: Turn) -> None:
        self._forget(turn)
        self.refused += 1
        if not turn.done():
            turn.set_exception(TooManyWait())

    def _forget(self, turn: Turn) -> Path:
        """It does not wait any more; gives its path."""
        ticket = self._returning.pop(turn, None)
        path = self._handshakes.pop(turn)[0] if ticket is None else self._clients[ticket].path
        self._outside.remove(path, turn)
        self._note_oldest()
        return path

    def _take_place(self, ticket: int) -> None:
        self.gave_way += 1
        self._move(ticket, self._clients[ticket], Stage.DISPLACED)
        self._end_silent()

    def _move(self, ticket: int, client: Newcomer, stage: Stage | None) -> None:
        """A client is at another stage from now on; None: it is gone."""
        before, after = self._counted[client.stage], self._counted[stage]
        if client.stage is not None:
            del self._since[client.stage][ticket]
            for shares in before:
                if shares not in after:
                    shares.remove(client.path, ticket)
        client.stage = stage
        if stage is not None:
            self._since[stage][ticket] = self._clock()
            for shares in after:
                if shares not in before:
                    shares.add(client.path, ticket)

    def _note_oldest(self) -> None:
        self._oldest = next(iter(self._handshakes.values()))[1] if self._handshakes else None

    # Time

    def _watch(self) -> None:
        """While anybody waits: look again when the next place becomes free by time alone."""
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
        working, silent = (self._since[Stage.ASKING], self._since[Stage.SUBSCRIBING]), self._since[Stage.SILENT]
        times = [next(iter(since.values())) + PATIENCE for since in working if since]
        if silent:
            since = next(iter(silent.values()))
            times.append(since + PATIENCE if self._busy else max(since + SOON, self._soon_from))
        return min(times, default=self._clock())

    def _look(self) -> None:
        self._timer = None
        self._note_time()
        self._fill()

    def _note_time(self) -> None:
        """A client whose connect or subscribe takes long does not need its place any more."""
        asking, due = self._since[Stage.ASKING], self._clock() - PATIENCE
        while asking and next(iter(asking.values())) <= due:
            ticket = next(iter(asking))
            self._move(ticket, self._clients[ticket], Stage.SLOW)
        subscribing = self._since[Stage.SUBSCRIBING]
        while subscribing and next(iter(subscribing.values())) <= due:
            subscribing.popitem(last=False)

    def _end_silent(self) -> None:
        """End the oldest silent client of the network that has most of them, where there are too many."""
        if self._displaced.size > self._max_waiting:
            ticket = self._displaced.fullest().oldest
            client = self._clients[ticket]
            self._move(ticket, client, Stage.SLOW)
            if client.give_up is not None:
                asyncio.get_running_loop().call_soon(client.give_up)  # it calls `leave`
