"""One connection to one Redis, shared by everything that runs in one event loop.

Calls of one loop turn leave in one write; replies come back in the order of the calls, so a call made after another
also happens after it. No call waits longer than the time-out. A connection whose Redis is silent while calls wait for a
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
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool

from flotilla.speedups import pack
from flotilla.store.backoff import Backoff
from flotilla.store.errors import ELSEWHERE, UNKNOWN_SCRIPT, StoreRefused, StoreSilent, StoreUnavailable, from_client
from flotilla.store.partitions import DOUBT, Partitions, in_full, run_of
from flotilla.store.replies import ReplyStream
from flotilla.store.scripts import Script
from flotilla.store.stats import RedisStats
from flotilla.store.supervised import supervised

Argument = bytes | str | int | float
Command = tuple[Argument, ...]
Otherwise = Callable[[], Command]
_Call = tuple["asyncio.Future[Any]", Otherwise | None]

FIRST_PAUSE = 0.1  # seconds without attempts after a failed one
MAX_PAUSE = 1.0
STEADY = 5.0  # seconds without a wrong server, after which the pauses begin short again
HELD_WITHIN = 3.5  # seconds a call is held: more than instances have to compare, less than a command may take
COMPARE_EVERY = 0.1  # seconds between questions whether a doubt is over


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
        self._timed: set[asyncio.Future[Any]] = set()  # of calls that were held: their time is limited
        self._comparing: asyncio.Task[None] | None = None
        self._pool = pool
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._connection: AbstractConnection | None = None
        self._outbox: list[tuple[bytes, _Call]] = []
        self._due: deque[tuple[float, _Call]] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._backoff = Backoff(FIRST_PAUSE, MAX_PAUSE)
        self._astray = Backoff(FIRST_PAUSE, MAX_PAUSE)
        self._astray_at = 0.0  # when the last wrong server was met
        self._not_before = 0.0
        self._moves = 0  # of the master
        self._closed = False
        self._turned_away: StoreRefused | None = None  # what the last attempt was answered

    def call(
        self, command: Command, otherwise: Otherwise | None = None, *, in_order: bool = False
    ) -> "asyncio.Future[Any]":
        """The future reply to `command`: bytes, int, list or None, as Redis gave it.

        `otherwise` makes the command to send instead when Redis does not know a script (somebody flushed them since
        this connection was made). Fails with StoreUnavailable when Redis does not answer, with StoreRefused when it
        answers with an error. Raises UnicodeEncodeError at once for text that has no bytes, so that no other call
        suffers from it. With `in_order` it waits behind those that are held.
        """
        packed = pack(command)
        future: asyncio.Future[Any] = self._loop.create_future()
        if in_order and (self._held or self._behind or self._in_doubt):
            self._hold((future, otherwise), self._behind)
        else:
            self._put(packed, (future, otherwise))
        return future

    def _put(self, packed: bytes, call: _Call) -> None:
        self._outbox.append((packed, call))
        self._stats.commands += 1
        if self._flushing is None:
            self._flushing = self._loop.create_task(self._flush())

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
        for task in (self._comparing, self._flushing, self._reader):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._flushing = None
        outbox, self._outbox = self._outbox, []
        unsent = [*(call for _, call in outbox), *self._held, *self._behind]
        self._held.clear()
        self._behind.clear()
        await self._fail(StoreUnavailable("the connection was closed"), unsent)

    async def _flush(self) -> None:
        try:
            while self._outbox:
                batch, self._outbox = self._outbox, []
                try:
                    connection = await self._connected()
                    now = self._loop.time()
                    self._due.extend((now, call) for _, call in batch)
                    packed = b"".join(command for command, _ in batch)
                    batch = []
                    self._watch_silence()
                    await connection.send_packed_command(packed, check_health=False)
                except Exception as error:  # noqa: BLE001  whatever it is: the waiting calls must fail
                    await self._fail(from_client(error), [call for _, call in batch])
                except asyncio.CancelledError:
                    self._outbox[:0] = batch  # `close` fails it
                    raise
        finally:
            self._flushing = None

    async def _connected(self) -> AbstractConnection:
        if self._connection is not None:
            return self._connection
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
        self._reader = self._loop.create_task(self._read(connection))
        return connection

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
        future, _ = call
        if future not in self._timed:
            error = StoreUnavailable("this run of Redis is not trusted yet")
            timer = self._loop.call_later(HELD_WITHIN, _fail, future, error)
            self._timed.add(future)
            future.add_done_callback(lambda _: timer.cancel())
            future.add_done_callback(self._timed.discard)
        queue.append(call)
        if self._comparing is None or self._comparing.done():
            self._comparing = supervised("link-compare", self._compare)

    async def _compare(self) -> None:
        """Ask again until no partition is in doubt, then send what was held, in the order in which it came."""
        while self._forget_done():
            await self._ask_again()
            if self._forget_done():
                await asyncio.sleep(COMPARE_EVERY)

    def _forget_done(self) -> bool:
        """Drop the calls whose time is up or whose caller is gone; whether any is left."""
        for queue in (self._held, self._behind):
            while queue and queue[0][0].done():
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
            answers = await asyncio.gather(*(self.call(one, partial(in_full, one)) for one in questions))
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
        for future, otherwise in waiting:
            if not future.done() and otherwise is not None:
                self._put(pack(otherwise()), (future, otherwise))

    async def _read(self, connection: AbstractConnection) -> None:
        replies = ReplyStream(connection)
        try:
            while True:
                wrong: StoreRefused | None = None
                for reply in await replies.read():
                    sent, (future, otherwise) = self._due.popleft()
                    self._stats.round_trip.observe(self._loop.time() - sent)
                    if not isinstance(reply, StoreRefused):
                        if not future.done():
                            future.set_result(reply)
                    elif reply.code == UNKNOWN_SCRIPT and otherwise is not None and not future.done():
                        self._put(pack(otherwise()), (future, otherwise))
                    elif reply.code == DOUBT and otherwise is not None and self._partitions is not None:
                        self._hold((future, otherwise), self._held)
                    else:
                        self._stats.refuse(reply)
                        _fail(future, reply)
                        wrong = reply if reply.code in ELSEWHERE else wrong
                if wrong is not None:
                    self._pause_astray(wrong)
                    raise wrong
        except asyncio.CancelledError:
            await connection.disconnect(nowait=True)  # nobody reads it any more
            raise
        except Exception as error:  # noqa: BLE001  whatever it is: the waiting calls must fail
            self._reader = None
            await self._fail(StoreUnavailable(f"the connection to Redis was given up: {error or type(error).__name__}"))

    def _pause_astray(self, wrong: StoreRefused) -> None:
        """Look for the right server at once, then at longer intervals while it is not there."""
        now, self._turned_away = self._loop.time(), wrong
        if now - self._astray_at > STEADY:
            self._astray.reset()
        self._astray_at = now
        self._not_before = now + self._astray.next()

    def _watch_silence(self) -> None:
        """One timer for all calls: it looks at the oldest."""
        if self._watch is None and self._due:
            self._watch = self._loop.call_at(self._due[0][0] + self._timeout, self._look)

    def _look(self) -> None:
        self._watch = None
        if self._due and self._due[0][0] + self._timeout <= self._loop.time():
            self._fail_soon(StoreSilent(f"no reply within {self._timeout} s"))
        else:
            self._watch_silence()

    def _fail_soon(self, error: StoreUnavailable) -> None:
        task = self._loop.create_task(self._fail(error))
        task.add_done_callback(lambda done: done.exception())

    async def _fail(self, error: StoreUnavailable, unsent: Sequence[_Call] = ()) -> None:
        connection, self._connection = self._connection, None
        reader, self._reader = self._reader, None
        due, self._due = self._due, deque()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._stats.unavailable += len(due) + len(unsent)
        for future, _ in (*(call for _, call in due), *unsent):
            _fail(future, error)
        if reader is not None:
            reader.cancel()
        if connection is not None:
            await connection.disconnect(nowait=True)


async def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    """Send some commands in one write and read their answers. An error among them is raised."""
    await connection.send_packed_command(b"".join(pack(command) for command in commands), check_health=False)
    return [await connection.read_response() for _ in commands]


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # or asyncio would complain where the caller went away: "never retrieved"
