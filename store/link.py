"""One connection to one Redis, shared by everything that runs in one event loop.

Calls of one loop turn leave in one write; replies come back in the order of the calls, so a call made after another
also happens after it. What one read brings is handed to those that wait at once, without a task. No call waits longer
than the time-out. A connection whose Redis is silent while calls wait for a
reply is given up: every such call fails with StoreUnavailable, and the next call connects again, after a pause that
grows with failures.

An error reply fails its own call only. But where it says that this is not the right server (a replica after a failover,
or one that is loading), the connection is given up as well: the address may lead to another server by now.

Behind sentinels the address leads to another server after a failover. Then `moved` is called, and the connection to the
old master is given up at once, because what is written there is lost. Before a failover that the sentinels lead,
`leaving` is called: calls are not sent until `moved`, or for two seconds, and so none is lost on the way.

In a cluster the address leads to the master that has a slot. A call that is answered MOVED was not executed: nothing
more is sent over that connection, and when what was sent before is answered, such calls go to the new master first, in
their order. While a slot is on its way (ASK, TRYAGAIN), or nobody has it (CLUSTERDOWN), calls are held and tried again.
A connection that is lost is made again before there is a call for it: others wait for what this process knows of the
partitions.

Where the Redis has partitions, each new connection begins by comparing what is known of them (`greeting`). A call that
is answered DOUBT is held, with others of its kind behind it, and all are sent again in order when the doubt is over
(`held`).
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool

from flotilla.store.backoff import Backoff
from flotilla.store.cluster import SlotGuide
from flotilla.store.cluster_view import Node
from flotilla.store.errors import (
    ELSEWHERE,
    MOVED,
    UNKNOWN_SCRIPT,
    StoreRefused,
    StoreSilent,
    StoreUnavailable,
    from_client,
    not_here,
)
from flotilla.store.greeting import greet
from flotilla.store.held import ASKED_EVERY, HELD_WITHIN, HeldCalls
from flotilla.store.layout import LAYOUT, Place
from flotilla.store.partitions import DOUBT, Partitions
from flotilla.store.promotions import HELD_BACK_WITHIN
from flotilla.store.replies import ReplyStream
from flotilla.store.resp import Command, pack
from flotilla.store.scripts import Script
from flotilla.store.stats import RedisStats
from flotilla.store.supervised import ended
from flotilla.store.waiting import PING, Call, PlaceKept, Waiting, fail, given_up, in_full

ANOTHER_MASTER = "Redis has another master now"
FIRST_PAUSE = 0.1  # seconds without attempts after a failed one
MAX_PAUSE = 1.0
STEADY = 5.0  # seconds without a wrong server, after which the pauses begin short again
RETIRED_WITHIN = 0.5  # seconds that a master which has no longer the slot has to answer what it was sent


class Link:
    """A pipelined connection. Use `call` from the loop it was made in."""

    def __init__(
        self,
        pool: AsyncConnectionPool,
        timeout: float,
        stats: RedisStats | None = None,
        partitions: Partitions | None = None,
        guide: SlotGuide | None = None,
        place: Place | None = None,
    ) -> None:
        self._stats = stats or RedisStats()
        self._guide = guide  # in a cluster
        self._place = place
        self._asks_for_place = False
        self._partitions = partitions
        self._held = HeldCalls(self, self._stats, partitions)
        self._first, self._behind, self._timed = self._held.first, self._held.behind, self._held.timed
        self._moved: list[Call] = []  # calls that were answered MOVED, in that order
        self._last_answer: asyncio.Future[Any] | None = None  # of a master that has no longer the slot
        self._pool = pool
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._connection: AbstractConnection | None = None
        self._attempt: AbstractConnection | None = None  # the connection, or what is to become it
        self._connected_at = 0.0
        self._replies: ReplyStream | None = None  # of the connection
        self._outbox: list[Call] = []
        self._flushes = False  # at the end of this turn
        self._due: deque[Call] = deque()
        self._sent: deque[tuple[float, int]] = deque()  # when they were sent, and how many together
        self._connecting: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._backoff = Backoff(FIRST_PAUSE, MAX_PAUSE)
        self._astray = Backoff(FIRST_PAUSE, MAX_PAUSE)
        self._astray_at = 0.0  # when the last wrong server was met
        self._not_before = 0.0
        self._moves = 0  # of the master
        self._leaving: asyncio.TimerHandle | None = None  # while calls are held back for a master that is next
        self._comes_back: asyncio.TimerHandle | None = None  # in a cluster, when it has no connection
        self._closed = False
        self._turned_away: StoreRefused | None = None  # what the last attempt was answered

    def call(self, command: Command, script: Script | None = None) -> "asyncio.Future[Any]":
        """The future reply to `command`: bytes, int, list or None, as Redis gave it.

        Fails with StoreUnavailable when Redis does not answer, with StoreRefused when it answers with an error. Raises
        UnicodeEncodeError at once for text that has no bytes, so that no other call suffers from it. `script` as for
        `send`.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self.send(pack(command), future, script)
        return future

    def send(self, packed: bytes, waiting: Waiting, script: Script | None = None) -> None:
        """Send a packed command; `waiting` gets its reply, or the error, as `call` has them.

        Of a call of a script the script is told: it is sent in full where Redis does not know it (somebody flushed the
        scripts since this connection was made), and one that needs its partition waits behind those that are held.
        """
        if script is not None and script.needs_partition and (self._first or self._behind or self._in_doubt):
            self._held.follow((packed, waiting, script))
        else:
            self.put((packed, waiting, script))

    @property
    def _in_doubt(self) -> bool:
        """Whether a call that needs a partition would most likely be answered DOUBT."""
        return self._partitions is not None and bool(self._partitions.doubted)

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def held_for(self) -> StoreRefused | None:
        """What calls are answered that are held until a slot is there; None: there is no such call."""
        return self._held.for_slot

    def put(self, call: Call) -> None:
        """Send a call with the next write."""
        self._outbox.append(call)
        self._stats.commands += 1
        if not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)

    def moved(self) -> None:
        """Another server is the master now. Any thread may say so."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._go_over)

    def leaving(self) -> None:
        """The master is about to be replaced: calls wait for the next one. Any thread may say so."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._hold_back)

    def _hold_back(self) -> None:
        if self._leaving is None and not self._closed:
            self._leaving = self._loop.call_later(HELD_BACK_WITHIN, self._stay)

    def _stay(self) -> None:
        """The master was not replaced: send what was held back."""
        self._leaving = None
        self._flush()

    def _go_over(self) -> None:
        """Give up the old master, and connect to the new one before there is a call for it."""
        if self._closed or self._is_there():
            return
        self._moves += 1
        self._not_before = 0.0
        self._backoff.reset()
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._guide is None:
            self._fail_soon(StoreUnavailable(ANOTHER_MASTER))
        else:  # what was sent before the slot went is answered
            self._retire()
        self.call(("PING",))  # and what was held back, when the old connection is given up

    async def close(self) -> None:
        """Give up the connection; what is due or not sent yet fails."""
        self._closed = True
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._comes_back is not None:
            self._comes_back.cancel()
        held = await self._held.close()
        await ended(*filter(None, (self._connecting, self._reader)))
        unsent = [*self._moved, *self._taken(), *held]
        self._moved.clear()
        await self._fail(StoreUnavailable("the connection was closed"), unsent)

    def _taken(self) -> list[Call]:
        """The calls that were not sent yet, which are the caller's now."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def _flush(self) -> None:
        """Send what was called in this turn, over a new connection if there is none."""
        self._flushes = False
        if self._leaving is not None:
            return
        if self._replies is not None:
            if self._place is None or time.monotonic() < self._place.renew_at or self._keeps(self._place):
                self._write(self._replies)
        elif self._connecting is None and self._outbox:
            self._connecting = self._loop.create_task(self._connect())

    def _write(self, replies: ReplyStream) -> None:
        if self._leaving is None and (batch := self._taken()):
            self._due.extend(batch)
            self._sent.append((self._loop.time(), len(batch)))
            self._watch_silence()
            replies.write(b"".join([packed for packed, _, _ in batch]))

    def _keeps(self, place: Place) -> bool:
        """Ask whether this process may still call this Redis; whether calls may be sent meanwhile."""
        try:
            question = None if self._asks_for_place else pack(place.command())
        except StoreUnavailable as error:  # a new connection asks for a place
            self.kept(error)
            return False
        now, others = time.monotonic(), self._taken()
        if question is not None:
            self._asks_for_place = True
            self._outbox.append((question, PlaceKept(self.kept, place, now), LAYOUT))
        if now >= place.until:
            if self._outbox and self._replies is not None:
                self._write(self._replies)
            self._outbox = others
            return False
        self._outbox += others
        return True

    def kept(self, refused: StoreUnavailable | None) -> None:
        """The question of `_keeps` was answered; `refused`: nothing may be sent any more."""
        self._asks_for_place = False
        if refused is not None:  # a new connection asks for a place again
            self._turned_away = refused if isinstance(refused, StoreRefused) else None
            self._not_before = self._loop.time() + FIRST_PAUSE
            unsent = self._taken()
            task = self._loop.create_task(self._fail(refused, unsent))
            task.add_done_callback(lambda done: done.exception())
        elif self._outbox and not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)

    async def _connect(self) -> None:
        try:
            await self._retired()
            moves, ends = None, self._loop.time() + HELD_WITHIN
            while moves != self._moves:  # again where the master moved meanwhile: nothing was sent to the old one
                moves = self._moves
                try:
                    replies = await self._connected()
                    if self._guide is not None:
                        self._outbox = [call for call in self._outbox if not call[1].done()]
                    self._write(replies)
                except Exception as error:  # noqa: BLE001  whatever it is: the waiting calls must fail
                    told = from_client(error)
                    if self._guide is not None and isinstance(told, StoreRefused) and told.code == MOVED:
                        self._moved_to(self._guide, told)
                    if self._guide is not None and not_here(told) and self._loop.time() < ends:
                        await asyncio.sleep(ASKED_EVERY)
                        moves = None
                    elif moves == self._moves:
                        await self._fail(told, self._taken() if self._leaving is None else ())
        finally:
            self._connecting = None
            self._come_back()

    async def _connected(self) -> ReplyStream:
        if self._loop.time() < self._not_before:
            raise self._turned_away.again() if self._turned_away else OSError("the last attempt failed just now")
        connection: AbstractConnection = self._pool.make_connection()
        self._attempt = connection
        moves = self._moves
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()
                await greet(connection, self._partitions, self._place, in_cluster=self._guide is not None)
            if self._moves != moves:
                raise StoreUnavailable(ANOTHER_MASTER)
        except BaseException as error:
            answer = from_client(error) if isinstance(error, Exception) else None
            if answer is not None and self._moves == moves and not (self._guide is not None and not_here(answer)):
                self._not_before = self._loop.time() + self._backoff.next()
                self._turned_away = answer if isinstance(answer, StoreRefused) else None
                if self._turned_away is not None:
                    self._stats.refuse(self._turned_away)
            await connection.disconnect(nowait=True)
            raise
        self._backoff.reset()
        self._turned_away = None
        self._stats.connects += 1
        self._connection, self._connected_at = connection, self._loop.time()
        self._replies = await ReplyStream.over(connection, self._answered)
        self._reader = self._loop.create_task(self._read(connection, self._replies))
        return self._replies

    # In a cluster

    def _come_back(self) -> None:
        """Connect again where there is no connection, when it is time for another attempt."""
        if self._guide is None or self._closed or self._connection is not None or self._comes_back is not None:
            return
        at = max(self._not_before, self._loop.time() + FIRST_PAUSE)
        self._comes_back = self._loop.call_at(at, self._try_again)

    def _try_again(self) -> None:
        self._comes_back = None
        if self._connection is None and self._connecting is None and not self._closed:
            self._connecting = self._loop.create_task(self._connect())

    def _is_there(self) -> bool:
        """Whether the connection leads to the master that has the slot now."""
        if self._guide is None or self._attempt is None or (self._connection is None and self._connecting is None):
            return False
        return bool(_place_of(self._attempt) == self._guide.known_master())

    def _moved_to(self, guide: SlotGuide, error: StoreRefused) -> None:
        guide.told_by(_place_of(self._attempt), error.text)

    def _redirected(self, call: Call, error: StoreRefused) -> None:
        """The node has executed nothing of a call. It is made again, behind those of its kind that came before it."""
        if error.code != MOVED:
            self._held.hold_for_slot(call, error)
            return
        assert self._guide is not None
        self._moved_to(self._guide, error)
        self._held.limit(call, error)
        if self._first and call[2] is not None and call[2].needs_partition:
            self._held.hold(call)
        else:
            self._moved.append(call)
        self._retire()

    def _retire(self) -> None:
        """Send nothing more over this connection but a PING: when that is answered, all before it is."""
        replies, self._replies = self._replies, None
        if replies is None:
            return
        self._last_answer = self._loop.create_future()
        self._due.append((PING, self._last_answer, None))
        self._sent.append((self._loop.time(), 1))
        self._watch_silence()
        replies.write(PING)
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._connect())

    async def _retired(self) -> None:
        """Give up the connection that is left, when all that was sent over it is answered."""
        if self._last_answer is not None:
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(RETIRED_WITHIN):
                    await self._last_answer
            self._give_up(StoreUnavailable(ANOTHER_MASTER))
            if (soon := self._connected_at + ASKED_EVERY - self._loop.time()) > 0:  # nodes do not agree yet
                await asyncio.sleep(soon)
        moved, self._moved = self._moved, []
        self._outbox[:0] = moved

    def _answered(self, replies: list[Any]) -> None:
        """Hand what one read brought to those that wait for it. A server that is not the right one is given up."""
        self._observe(len(replies))
        wrong: StoreRefused | None = None
        for reply in replies:
            call = self._due.popleft()
            if isinstance(reply, StoreRefused):
                wrong = self._refused(call, reply) or wrong
            else:
                waiting = call[1]
                if self._timed and (timer := self._timed.pop(waiting, None)) is not None:
                    timer.cancel()
                if not waiting.done():
                    waiting.set_result(reply)
        if wrong is not None:
            self._pause_astray(wrong)
            self._give_up(given_up(wrong))

    def _refused(self, call: Call, error: StoreRefused) -> StoreRefused | None:
        """Redis answered a call with an error, which is given back where this is not the right server."""
        _, waiting, script = call
        if error.code == UNKNOWN_SCRIPT and script is not None and not waiting.done():
            self.put(in_full(call))
        elif error.code == DOUBT and script is not None and self._partitions is not None:
            self._held.hold(call)
        elif self._guide is not None and not_here(error):
            self._redirected(call, error)
        else:
            self._stats.refuse(error)
            fail(waiting, error)
            return error if error.code in ELSEWHERE else None
        return None

    def _observe(self, replies: int) -> None:
        """Note how long so many calls, the oldest, have waited."""
        now = self._loop.time()
        while replies and self._sent:
            sent, together = self._sent.popleft()
            if together > replies:
                self._sent.appendleft((sent, together - replies))
                together = replies
            self._stats.round_trip.observe(now - sent, together)
            replies -= together

    async def _read(self, connection: AbstractConnection, replies: ReplyStream) -> None:
        """Wait for the connection's end."""
        try:
            await replies.read()  # returns nothing: everything is taken as it comes
        except asyncio.CancelledError:
            await connection.disconnect(nowait=True)  # nobody reads it any more
            raise
        except Exception as error:  # noqa: BLE001  whatever it is: the waiting calls must fail
            self._reader = None
            await self._fail(given_up(error))

    def _pause_astray(self, wrong: StoreRefused) -> None:
        """Look for the right server at once, then at longer intervals while it is not there."""
        now, self._turned_away = self._loop.time(), wrong
        if now - self._astray_at > STEADY:
            self._astray.reset()
        self._astray_at = now
        self._not_before = now + self._astray.next()

    def _watch_silence(self) -> None:
        """One timer for all calls: it looks at the oldest."""
        if self._watch is None and self._sent:
            self._watch = self._loop.call_at(self._sent[0][0] + self._timeout, self._look)

    def _look(self) -> None:
        self._watch = None
        if self._sent and self._sent[0][0] + self._timeout <= self._loop.time():
            self._fail_soon(StoreSilent(f"no reply within {self._timeout} s"))
        else:
            self._watch_silence()

    def _fail_soon(self, error: StoreUnavailable) -> None:
        task = self._loop.create_task(self._fail(error))
        task.add_done_callback(lambda done: done.exception())

    async def _fail(self, error: StoreUnavailable, unsent: Iterable[Call] = ()) -> None:
        connection = self._connection
        self._give_up(error, unsent)
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _give_up(self, error: StoreUnavailable, unsent: Iterable[Call] = ()) -> None:
        """Leave the connection to its reader, who closes it; what is due on it, and `unsent`, fails."""
        self._connection = self._last_answer = None
        reader, self._reader = self._reader, None
        failed = [*self._due, *unsent]
        self._replies = None
        self._due.clear()
        self._sent.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._stats.unavailable += len(failed)
        for _, waiting, _ in failed:
            fail(waiting, error)
        if reader is not None:
            reader.cancel()
        self._come_back()


def _place_of(connection: AbstractConnection | None) -> Node:
    return getattr(connection, "host", ""), getattr(connection, "port", 0)
