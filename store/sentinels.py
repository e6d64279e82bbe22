"""Where the sentinels say that a master is, and who is told when it moves.

Each sentinel is subscribed to while anybody follows. The first one that says that another server was promoted is
believed: sentinels count their decisions (`config-epoch`), and one with a lower count has only not heard of the new one
yet, which may take two seconds. Where no sentinel can be subscribed to, they are still asked for the master at each new
connection.

The sentinel that leads a failover says beforehand which replica is next (`promotions`): calls are held back until that
one is the master, so what is written through a planned failover is not lost.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import NamedTuple
from weakref import WeakSet

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import NoPermissionError

from flotilla.store.address import Address
from flotilla.store.backoff import Backoff
from flotilla.store.deadline import bounded
from flotilla.store.errors import StoreUnavailable, from_client, reading
from flotilla.store.guides import Follower, Speaker, connected, of_this_process
from flotilla.store.once import Once
from flotilla.store.promotions import (
    EARLY_EVENTS,
    FOLLOWS_WITHIN,
    HELD_BACK_WITHIN,
    Holder,
    Host,
    demoted,
    promoted,
    replica_named,
)
from flotilla.store.supervised import ended, supervised

logger = logging.getLogger("flotilla.store.sentinels")

EVENTS = ("+switch-master", "+promoted-slave")  # the sentinel that leads a failover sends the second one earlier
ANSWER_WITHIN = 1.0  # seconds all sentinels together have to say where the master is
QUIET = 5.0  # seconds of silence after which a sentinel is sent a PING
FIRST_PAUSE = 0.1  # seconds until a sentinel that is gone is subscribed to again
MAX_PAUSE = 2.0
AGREE_WITHIN = 2 * FOLLOWS_WITHIN  # seconds until sentinels know of a promotion that was seen at the replica itself


class Said(NamedTuple):
    """What a sentinel says: the number of its last decision, and the master by that decision."""

    epoch: int
    master: tuple[str, int]


class Sentinels:
    """The sentinels of one master, for everybody in this process. Make it with `sentinels_of`."""

    def __init__(self, address: Address, speaker: Speaker) -> None:
        self._address = address
        self._speaker = speaker
        self._followers: WeakSet[Follower] = WeakSet()
        self._lock = threading.Lock()  # of the followers and their watches
        self._watches: list[Future[None]] = []
        self._said: Said | None = None
        self._once = Once()
        self._awaiting: asyncio.Task[None] | None = None  # a promotion
        self._held_until = 0.0  # who begins to follow before holds calls back as well
        self._seen_until = 0.0  # until then sentinels need not know of the master that was seen being promoted

    # For any thread

    def follow(self, follower: Follower) -> None:
        """Tell `follower` from now on when the master moves; it is forgotten when nobody else holds it."""
        with self._lock:
            self._followers.add(follower)
            if not self._watches:
                self._watches = [self._speaker.run(self._watch(one)) for one in self._address.hosts]
            if time.monotonic() < self._held_until and isinstance(follower, Holder):
                follower.leaving()

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
        if self._said is not None and self._speaker.loop.time() < self._seen_until:
            if not await demoted(self._address, self._said.master):
                return self._said.master
            self._seen_until = 0.0
            self._said = Said(-1, self._said.master)  # another sentinel has taken it back: whatever they say is newer
        known = self._said
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
            await ended(*asking)
        if best is None:
            raise StoreUnavailable(f"no sentinel says where the master is: {faults[0]}")
        if self._said is not None and best.epoch < self._said.epoch:
            if self._said is not known:  # they answered before a promotion that was seen meanwhile
                return self._said.master
            if not faults:  # all count from the beginning again: they were set up again
                self._said = Said(-1, self._said.master)
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
        with self._lock:  # who follows from now on begins with the new one
            self._held_until = 0.0
            following = tuple(self._followers)
        for follower in following:
            follower.moved()

    def _foresee(self, replica: Host) -> None:
        """A replica is about to be promoted: hold back what would be lost, and see whether it is."""
        if self._said is None or self._said.master == replica or not (self._awaiting is None or self._awaiting.done()):
            return
        with self._lock:
            self._held_until = time.monotonic() + HELD_BACK_WITHIN
            following = tuple(self._followers)
        for follower in following:
            if isinstance(follower, Holder):
                follower.leaving()
        self._awaiting = self._speaker.loop.create_task(self._await_promotion(replica))

    async def _await_promotion(self, replica: Host) -> None:
        try:
            followed = await promoted(self._address, replica)
        except Exception as error:  # noqa: BLE001  whatever it is: the sentinels will tell
            logger.info("the replica %s:%d cannot be asked whether it was promoted: %s", *replica, from_client(error))
            return
        if followed and self._said is not None and self._said.master != replica:
            self._seen_until = self._speaker.loop.time() + AGREE_WITHIN
            self._learn(Said(self._said.epoch + 1, replica))  # at least: an election that failed counts as well

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
            await connection.send_command("SUBSCRIBE", *EARLY_EVENTS)  # a user may have no right to: `_hear` skips that
            backoff.reset()
            said = await self._ask_one(sentinel)  # what it decided before we listened
            self._learn(said)
            if self._said is not None and said.epoch < self._said.epoch:
                await self._ask()  # they may have been set up again, all of them
            while True:
                _, event, told = await self._hear(connection)
                if event.decode() not in EARLY_EVENTS:
                    self._learn(await self._ask_one(sentinel))
                elif (replica := replica_named(told, self._address.master)) is not None:
                    self._foresee(replica)

    async def _hear(self, connection: AbstractConnection) -> Sequence[bytes]:
        """Wait until an event comes. A sentinel that is silent must answer a PING now and then."""
        asked = False
        while True:
            reply = await self._heard(connection)
            if reply is not None and reply[0] == b"message":
                return reply
            if reply is None and asked:
                raise StoreUnavailable(f"no reply within {QUIET:g} s")
            asked = reply is None
            if asked:
                await connection.send_command("PING")

    async def _heard(self, connection: AbstractConnection) -> Sequence[bytes] | None:
        """What comes next, None where nothing does for a while."""
        try:
            reply: Sequence[bytes] | None = await connection.read_response(timeout=QUIET)
            return reply
        except NoPermissionError as error:
            if self._once.news(str(error)):
                logger.warning("failovers lose more than they must, for they cannot be foreseen: %s", error)
            return (b"denied",)

    @asynccontextmanager
    async def _connected(self, sentinel: tuple[str, int]) -> AsyncIterator[AbstractConnection]:
        """A connection to a sentinel, for as long as it is used. Whatever fails raises StoreUnavailable."""
        try:
            async with connected(
                sentinel, self._address.sentinel_login, self._address.sentinel_tls, ANSWER_WITHIN
            ) as connection:
                yield connection
        except StoreUnavailable:
            raise
        except Exception as error:
            raise from_client(error) from error


@of_this_process
def sentinels_of(address: Address, speaker: Speaker) -> Sentinels:
    """This process's Sentinels for the master that an address names (others after a fork)."""
    return Sentinels(address, speaker)
