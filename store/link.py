"""One connection to one Redis, shared by everything that runs in one event loop.

Calls of one loop turn leave in one write; replies come back in the order of the calls, so a call made after another
also happens after it. What one read brings is handed to those that wait at once, without a task. No call waits longer
than the time-out. A connection whose Redis is silent while calls wait for a
reply is given up: every such call fails with StoreUnavailable, and the next call connects again, after a pause that
grows with failures.

An error reply fails its own call only. But where it says that this is not the right server (a replica after a failover,
or one that is loading), the connection is given up as well: the address may lead to another server by now.

Behind sentinels the address leads to another server after a failover. Then `moved` is called, and the connection to the
old master is given up at once, because what is written there is lost.

Where the Redis has partitions, each new connection begins by comparing what is known of them (`_greet`). A call that is
answered DOUBT is held, with others of its kind behind it, and all are sent again in order when the doubt is over.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool

from flotilla.store.backoff import Backoff
from flotilla.store.errors import ELSEWHERE, UNKNOWN_SCRIPT, StoreRefused, StoreSilent, StoreUnavailable, from_client
from flotilla.store.partitions import ARRIVE, DOUBT, Partitions, run_of
from flotilla.store.replies import ReplyStream
from flotilla.store.resp import Command, in_full, pack
from flotilla.store.scripts import Script
from flotilla.store.stats import RedisStats
from flotilla.store.supervised import supervised

FIRST_PAUSE = 0.1  # seconds without attempts after a failed one
MAX_PAUSE = 1.0
STEADY = 5.0  # seconds without a wrong server, after which the pauses begin short again
HELD_WITHIN = 3.5  # seconds a call is held: more than instances have to compare, less than a command may take
COMPARE_EVERY = 0.1  # seconds between questions whether a doubt is over


class Waiting(Protocol):
    """Who waits for a reply; a future is one. Whatever else it is, its methods are called while a read is handled: they
    must be short. It is not answered any more when it is `done`."""

    def done(self) -> bool: ...

    def set_result(self, reply: Any, /) -> None: ...

    def set_exception(self, error: StoreUnavailable, /) -> None: ...


_Call = tuple[bytes, Waiting, Script | None]
"""A packed command, who waits for its reply, and the script it runs, if that may be unknown or in doubt."""


class Link:
    """A pipelined connection. Use `call` from the loop it was made in."""

    def __init__(
        self,
        pool: AsyncConnectionPool,
        timeout: float,
        stats: RedisStats | None = None,
        partitions: Partitions | None = None,
    ) -> None:
        self._stats = stats or RedisStats()
        self._partitions = partitions
        self._held: deque[_Call] = deque()  # calls that were answered DOUBT, in the order in which they were sent
        self._behind: deque[_Call] = deque()  # calls that came later and must not overtake them
        self._timed: dict[Waiting, asyncio.TimerHandle] = {}  # of calls that were held: their time is limited
        self._comparing: asyncio.Task[None] | None = None
        self._pool = pool
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._connection: AbstractConnection | None = None
        self._replies: ReplyStream | None = None  # of the connection
        self._outbox: list[_Call] = []
        self._flushes = False  # at the end of this turn
        self._due: deque[_Call] = deque()
        self._sent: deque[tuple[float, int]] = deque()  # when they were sent, and how many together
        self._connecting: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._backoff = Backoff(FIRST_PAUSE, MAX_PAUSE)
        self._astray = Backoff(FIRST_PAUSE, MAX_PAUSE)
        self._astray_at = 0.0  # when the last wrong server was met
        self._not_before = 0.0
        self._moves = 0  # of the master
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
        if script is not None and script.needs_partition and (self._held or self._behind or self._in_doubt):
            self._hold((packed, waiting, script), self._behind)
        else:
            self._put((packed, waiting, script))

    def _put(self, call: _Call) -> None:
        self._outbox.append(call)
        self._stats.commands += 1
        if not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)

    def moved(self) -> None:
        """Another server is the master now. Any thread may say so."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._go_over)

    def _go_over(self) -> None:
        """Give up the old master, and connect to the new one before there is a call for it."""
        if self._closed:
            return
        self._moves += 1
        self._not_before = 0.0
        self._backoff.reset()
        self._fail_soon(StoreUnavailable("Redis has another master now"))
        self.call(("PING",))

    async def close(self) -> None:
        """Give up the connection; what is due or not sent yet fails."""
        self._closed = True
        for task in (self._comparing, self._connecting, self._reader):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        unsent = [*self._taken(), *self._held, *self._behind]
        self._held.clear()
        self._behind.clear()
        await self._fail(StoreUnavailable("the connection was closed"), unsent)

    def _taken(self) -> list[_Call]:
        """The calls that were not sent yet, which are the caller's now."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def _flush(self) -> None:
        """Send what was called in this turn, over a new connection if there is none."""
        self._flushes = False
        if self._replies is not None:
            self._write(self._replies)
        elif self._connecting is None and self._outbox:
            self._connecting = self._loop.create_task(self._connect())

    def _write(self, replies: ReplyStream) -> None:
        if batch := self._taken():
            self._due.extend(batch)
            self._sent.append((self._loop.time(), len(batch)))
            self._watch_silence()
            replies.write(b"".join([packed for packed, _, _ in batch]))

    async def _connect(self) -> None:
        try:
            moves = None
            while moves != self._moves:  # again where the master moved meanwhile: nothing was sent to the old one
                moves = self._moves
                try:
                    self._write(await self._connected())
                except Exception as error:  # noqa: BLE001  whatever it is: the waiting calls must fail
                    if moves == self._moves:
                        await self._fail(from_client(error), self._taken())
        finally:
            self._connecting = None

    async def _connected(self) -> ReplyStream:
        if self._loop.time() < self._not_before:
            raise self._turned_away.again() if self._turned_away else OSError("the last attempt failed just now")
        connection: AbstractConnection = self._pool.make_connection()
        moves = self._moves
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()
                await self._greet(connection)
            if self._moves != moves:
                raise StoreUnavailable("Redis has another master since the connection began")
        except BaseException as error:
            if isinstance(error, Exception) and self._moves == moves:
                self._not_before = self._loop.time() + self._backoff.next()
                answer = from_client(error)
                self._turned_away = answer if isinstance(answer, StoreRefused) else None
                if self._turned_away is not None:
                    self._stats.refuse(self._turned_away)
            await connection.disconnect(nowait=True)
            raise
        self._backoff.reset()
        self._turned_away = None
        self._stats.connects += 1
        self._connection = connection
        self._replies = await ReplyStream.over(connection, self._answered)
        self._reader = self._loop.create_task(self._read(connection, self._replies))
        return self._replies

    async def _greet(self, connection: AbstractConnection) -> None:
        """What is sent before any call: the scripts, and what this process knows of the partitions."""
        await _exchange(connection, [("SCRIPT", "LOAD", script.text) for script in Script.registered.values()])
        if self._partitions is None:
            return
        [info] = await _exchange(connection, [("INFO", "server")])
        run, everything = run_of(info), range(len(self._partitions.all))
        answers = await _exchange(connection, self._partitions.questions(run, everything))
        self._partitions.answered(run, everything, answers)

    # Doubt

    @property
    def _in_doubt(self) -> bool:
        """Whether a call that needs a partition would most likely be answered DOUBT."""
        return self._partitions is not None and bool(self._partitions.doubted)

    def _hold(self, call: _Call, queue: deque[_Call]) -> None:
        """Keep a call in a queue until the doubt is over, or its time is up."""
        _, waiting, _ = call
        if waiting not in self._timed:
            self._timed[waiting] = self._loop.call_later(HELD_WITHIN, self._overdue, waiting)
        queue.append(call)
        if self._comparing is None or self._comparing.done():
            self._comparing = supervised("link-compare", self._compare)

    def _overdue(self, waiting: Waiting) -> None:
        del self._timed[waiting]
        _fail(waiting, StoreUnavailable("this run of Redis is not trusted yet"))

    async def _compare(self) -> None:
        """Ask again until no partition is in doubt, then send what was held, in the order in which it came."""
        while self._forget_done():
            await self._ask_again()
            if self._forget_done():
                await asyncio.sleep(COMPARE_EVERY)

    def _forget_done(self) -> bool:
        """Drop the calls whose time is up or whose caller is gone; whether any is left."""
        for queue in (self._held, self._behind):
            while queue and queue[0][1].done():
                queue.popleft()
        return bool(self._held or self._behind)

    async def _ask_again(self) -> None:
        partitions = self._partitions
        assert partitions is not None  # nothing else holds calls
        if self._connection is None:  # a new connection compares by itself, maybe with yet another run
            with contextlib.suppress(StoreUnavailable):
                await self.call(("PING",))
            return
        # a partition that is gone altogether (Redis was emptied) is made again by the same question
        numbers = sorted(partitions.doubted) or list(range(len(partitions.all)))
        run = partitions.run
        try:
            questions = partitions.questions(run, numbers)
            answers = await asyncio.gather(*(self.call(one, ARRIVE) for one in questions))
        except StoreUnavailable:
            return
        if partitions.run == run:
            partitions.answered(run, numbers, answers)
        if not partitions.doubted:
            self._send_held()

    def _send_held(self) -> None:
        waiting = [*self._held, *self._behind]
        self._held.clear()
        self._behind.clear()
        for call in waiting:
            if not call[1].done():
                self._repeat(call)

    def _repeat(self, call: _Call) -> None:
        """Send a call of a script again, with all of the script."""
        packed, waiting, script = call
        assert script is not None  # the replies to no other command lead here
        self._put((in_full(packed, script.sha, script.text.encode()), waiting, None))

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
            self._give_up(_given_up(wrong))

    def _refused(self, call: _Call, error: StoreRefused) -> StoreRefused | None:
        """Redis answered a call with an error, which is given back where this is not the right server."""
        _, waiting, script = call
        if error.code == UNKNOWN_SCRIPT and script is not None and not waiting.done():
            self._repeat(call)
        elif error.code == DOUBT and script is not None and self._partitions is not None:
            self._hold(call, self._held)
        else:
            self._stats.refuse(error)
            _fail(waiting, error)
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
            await self._fail(_given_up(error))

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

    async def _fail(self, error: StoreUnavailable, unsent: Iterable[_Call] = ()) -> None:
        connection = self._connection
        self._give_up(error, unsent)
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _give_up(self, error: StoreUnavailable, unsent: Iterable[_Call] = ()) -> None:
        """Leave the connection to its reader, who closes it; what is due on it, and `unsent`, fails."""
        self._connection = None
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
            _fail(waiting, error)
        if reader is not None:
            reader.cancel()


async def _exchange(connection: AbstractConnection, commands: Iterable[Command]) -> list[Any]:
    """Send some commands in one write and read their answers. An error among them is raised."""
    packed = [pack(command) for command in commands]
    await connection.send_packed_command(b"".join(packed), check_health=False)
    return [await connection.read_response() for _ in packed]


def _given_up(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the connection to Redis was given up: {error or type(error).__name__}")


def _fail(waiting: Waiting, error: StoreUnavailable) -> None:
    if not waiting.done():
        waiting.set_exception(error)
        if isinstance(waiting, asyncio.Future):
            waiting.exception()  # or asyncio would complain where the caller went away: "never retrieved"
