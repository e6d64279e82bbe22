"""Where the sentinels say that a master is, and who is told when it moves.

All talk with sentinels happens in one thread of the process, in an event loop of its own, so that coroutines of any
loop and plain threads are served alike. Each sentinel is subscribed to while anybody follows. The first one that says
that another server was promoted is believed: sentinels count their decisions (`config-epoch`), and one with a lower
count has only not heard of the new one yet, which may take two seconds. Where no sentinel can be subscribed to, they
are still asked for the master at each new connection.
"""

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol, TypeVar
from weakref import WeakSet

from redis.asyncio.connection import AbstractConnection, Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NoConnection

from flotilla.store.address import Address
from flotilla.store.backoff import Backoff
from flotilla.store.deadline import bounded
from flotilla.store.errors import StoreUnavailable, from_client, reading
from flotilla.store.once import Once
from flotilla.store.supervised import supervised
from flotilla.store.tls import AsyncTlsConnection

logger = logging.getLogger("flotilla.store.sentinels")

Value = TypeVar("Value")

EVENTS = ("+switch-master", "+promoted-slave")  # the sentinel that leads a failover sends the second one earlier
ANSWER_WITHIN = 1.0  # seconds all sentinels together have to say where the master is
QUIET = 5.0  # seconds of silence after which a sentinel is sent a PING
FIRST_PAUSE = 0.1  # seconds until a sentinel that is gone is subscribed to again
MAX_PAUSE = 2.0


class Follower(Protocol):
    """Somebody with connections to a master."""

    def moved(self) -> None:
        """Another server is the master now. Any thread may call it; it must not wait, nor raise."""


class Said(NamedTuple):
    """What a sentinel says: the number of its last decision, and the master by that decision."""

    epoch: int
    master: tuple[str, int]


class Speaker:
    """The thread that talks with sentinels."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="flotilla-sentinels", daemon=True)
        self._thread.start()
        atexit.register(self.end)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            self.loop.run_until_complete(asyncio.wait([task]))
        self.loop.close()

    def end(self) -> None:
        """End it, where the process ends."""
        if self.pid == os.getpid() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(2)

    def run(self, work: Coroutine[Any, Any, Value]) -> "Future[Value]":
        """Have something done in the thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)


class Sentinels:
    """The sentinels of one master, for everybody in this process. Make it with `sentinels_of`."""

    def __init__(self, address: Address, speaker: Speaker) -> None:
        self._address = address
        self._speaker = speaker
        self._followers: WeakSet[Follower] = WeakSet()
        self._lock = threading.Lock()  # of the followers and their watches
        self._watches: list[Future[None]] = []
        self._said: Said | None = None

    # For any thread

    def follow(self, follower: Follower) -> None:
        """Tell `follower` from now on when the master moves; it is forgotten when nobody else holds it."""
        with self._lock:
            self._followers.add(follower)
            if not self._watches:
                self._watches = [self._speaker.run(self._watch(one)) for one in self._address.hosts]

    def leave(self, follower: Follower) -> None:
        """Tell it no more; sentinels whom nobody follows any more are not subscribed to."""
        with self._lock:
            self._followers.discard(follower)
            ended = [] if self._followers else self._watches
            self._watches = [] if ended else self._watches
        for watch in ended:
            watch.cancel()

    async def discover_master(self, _: str) -> tuple[str, int]:
        """Where the master is, for redis-py's pools. Raises redis-py's ConnectionError."""
        try:
            async with asyncio.timeout(2 * ANSWER_WITHIN):
                return await asyncio.wrap_future(self._speaker.run(self._ask()))
        except (StoreUnavailable, TimeoutError) as error:
            raise NoConnection(str(error) or "the sentinels do not answer") from error

    def discover_master_sync(self) -> tuple[str, int]:
        """The same for threads."""
        try:
            return self._speaker.run(self._ask()).result(bounded(2 * ANSWER_WITHIN))
        except (StoreUnavailable, TimeoutError) as error:
            raise NoConnection(str(error) or "the sentinels do not answer") from error

    # In the speaker's thread

    async def _ask(self) -> tuple[str, int]:
        """The master by the latest decision: the first sentinel whose decision is not older than the one we know is
        enough, else the newest of all answers."""
        asking = [asyncio.ensure_future(self._ask_one(one)) for one in self._address.hosts]
        best: Said | None = None
        faults: list[StoreUnavailable] = []
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                for answer in asyncio.as_completed(asking):
                    try:
                        said = await answer
                    except StoreUnavailable as error:
                        faults.append(error)
                        continue
                    best = said if best is None or said.epoch > best.epoch else best
                    if self._said is None or best.epoch >= self._said.epoch:
                        break
        except TimeoutError:
            faults.append(StoreUnavailable(f"no answer within {ANSWER_WITHIN:g} s"))
        finally:
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if best is None:
            raise StoreUnavailable(f"no sentinel says where the master is: {faults[0]}")
        if self._said is not None and best.epoch < self._said.epoch and not faults:
            self._said = None  # all of them count from the beginning again: they were set up again
        self._learn(best)
        return best.master

    async def _ask_one(self, sentinel: tuple[str, int]) -> Said:
        async with self._connected(sentinel) as connection:
            for command in ("GET-MASTER-ADDR-BY-NAME", "MASTER"):  # only the first knows who was just promoted
                await connection.send_command("SENTINEL", command, self._address.master)
            at, facts = await connection.read_response(), await connection.read_response()
            with reading("where a master is"):
                numbered = dict(zip(facts[::2], facts[1::2], strict=True))
                return Said(int(numbered[b"config-epoch"]), (at[0].decode(), int(at[1])))

    def _learn(self, said: Said) -> None:
        known = self._said
        if known is not None and said.epoch <= known.epoch:
            return
        self._said = said
        if known is None or known.master == said.master:
            return
        logger.warning("the sentinels have another master: %s:%d", *said.master)
        with self._lock:
            followers = tuple(self._followers)
        for follower in followers:
            follower.moved()

    async def _watch(self, sentinel: tuple[str, int]) -> None:
        await supervised("sentinel-watch", lambda: self._listen(sentinel))

    async def _listen(self, sentinel: tuple[str, int]) -> None:
        backoff, once = Backoff(FIRST_PAUSE, MAX_PAUSE), Once()
        while True:
            try:
                await self._subscribed(sentinel, backoff)
            except StoreUnavailable as error:
                if once.news(type(error).__name__):
                    logger.warning("the sentinel %s:%d cannot be listened to: %s", *sentinel, error)
            await asyncio.sleep(backoff.next())

    async def _subscribed(self, sentinel: tuple[str, int], backoff: Backoff) -> None:
        """Listen to a sentinel as long as it lasts. Raises StoreUnavailable."""
        async with self._connected(sentinel) as connection:
            await connection.send_command("SUBSCRIBE", *EVENTS)
            for _ in EVENTS:
                await connection.read_response()
            backoff.reset()
            self._learn(await self._ask_one(sentinel))  # what it decided before we listened
            while True:
                await self._hear(connection)
                self._learn(await self._ask_one(sentinel))

    async def _hear(self, connection: AbstractConnection) -> None:
        """Wait until an event comes. A sentinel that is silent must answer a PING now and then."""
        asked = False
        while (reply := await connection.read_response(timeout=QUIET)) is None or reply[0] != b"message":
            if reply is None and asked:
                raise StoreUnavailable(f"no reply within {QUIET:g} s")
            asked = reply is None
            if asked:
                await connection.send_command("PING")

    @asynccontextmanager
    async def _connected(self, sentinel: tuple[str, int]) -> AsyncIterator[AbstractConnection]:
        """A connection to a sentinel, for as long as it is used. Whatever fails raises StoreUnavailable."""
        connection = self._connection(sentinel)
        try:
            await connection.connect()
            yield connection
        except StoreUnavailable:
            raise
        except Exception as error:
            raise from_client(error) from error
        finally:
            await connection.disconnect(nowait=True)

    def _connection(self, sentinel: tuple[str, int]) -> AbstractConnection:
        options: dict[str, Any] = {
            "host": sentinel[0],
            "port": sentinel[1],
            "protocol": 2,
            "socket_timeout": ANSWER_WITHIN,
            "socket_connect_timeout": ANSWER_WITHIN,
            "retry": Retry(NoBackoff(), 0),
            **self._address.sentinel_login.options(),
        }
        tls = self._address.sentinel_tls
        return Connection(**options) if tls is None else AsyncTlsConnection(tls=tls, **options)


_speaker: Speaker | None = None
_known: dict[Address, Sentinels] = {}
_lock = threading.Lock()


def sentinels_of(address: Address) -> Sentinels:
    """This process's Sentinels for the master that an address names (others after a fork)."""
    global _speaker
    with _lock:
        if _speaker is None or _speaker.pid != os.getpid():
            _speaker = Speaker()
            _known.clear()
        if address not in _known:
            _known[address] = Sentinels(address, _speaker)
        return _known[address]
