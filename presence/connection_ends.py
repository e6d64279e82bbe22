"""Ends of connections: each is told to the project's receivers exactly once in the whole cluster, however slow.

The script that removes a connection from its user's scope notes its end in the same step, in the list that its
incarnation has in that district. Telling begins with a claim, which Redis gives once. Then the receiver queue makes the
call, and the end is crossed off. What the queue has no room for waits in Redis; what a dead incarnation left there is
told by its reapers. So an end is lost or told twice only if the process dies or Redis loses data during the very call.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from flotilla.presence.entries import Leaving
from flotilla.presence.keys import District
from flotilla.presence.receiver_queue import ReceiverQueue
from flotilla.store import Backoff, Script, Store, StoreUnavailable
from flotilla.store.resp import Argument
from flotilla.store.shards import Shard

logger = logging.getLogger(__name__)

CLAIM, ENDS = (Script.load("flotilla.presence", name) for name in ("claim", "ends"))
MAX_FETCHED = 200  # ends at a time
MAX_PARKED = 10_000  # ends kept in memory while their Redis is away; more wait in it
LOOK_EVERY = 0.25  # seconds between two looks at what waits in Redis
NAME = "on_disconnect"  # of such calls in the figures of the queue


class ConnectionEnd(NamedTuple):
    """The end of one connection. `owner` is the incarnation it belonged to; `noted` says that this process had it
    noted itself, and need not find it in Redis."""

    owner: str
    district: District
    client: str
    user: str
    note: bytes
    noted: bool


Tell = Callable[[ConnectionEnd], Awaitable[None]]


class ConnectionEnds:
    """Tells ends through the receiver queue. `noted` and `look_later` never wait; `run` does what they left."""

    def __init__(self, store: Store, queue: ReceiverQueue, tell: Tell, key_ttl: float) -> None:
        """`tell` makes the call; `key_ttl`, in seconds, is how long an end may wait without anybody to tell it."""
        self._store = store
        self._queue = queue
        self._tell = tell
        self._key_ttl = max(1, int(key_ttl))
        self._who = secrets.token_hex(8)  # this process, whatever incarnation it is
        self._here: set[tuple[str, str]] = set()  # (owner, client) in the queue, in a call or parked
        self._parked: list[ConnectionEnd] = []
        self._told: dict[tuple[str, District], list[str]] = {}  # to be crossed off
        self._more: dict[tuple[str, District], int] = {}  # lists in Redis where some are left → how many, when seen
        self._looking = False
        self._resting: dict[int, tuple[float, Backoff]] = {}  # shard → until when, after failures

    @property
    def clear(self) -> bool:
        """Whether everything that this process knows of has been told."""
        return not self._here and not self._more and not self._looking

    @property
    def waiting(self) -> int:
        """Ends that wait outside of the queue: Redis does not answer, or there was no room. Any thread may ask."""
        return len(self._parked) + sum(list(self._more.values()))

    def noted(self, owner: str, district: District, leaving: list[Leaving]) -> None:
        """Have told what this process, which is `owner`, has just noted in Redis: the ends of those with a note."""
        for one in leaving:
            if one.note:
                self._offer(ConnectionEnd(owner, district, one.client, one.user, one.note, noted=True))

    def look_later(self, owner: str, district: District) -> None:
        """This process's list in Redis may hold ends that it does not know of: to be fetched."""
        self._more.setdefault((owner, district), 1)

    def forget(self, owner: str) -> None:
        """`owner` is no longer this process: its ends are told by its reapers."""
        for key in [key for key in self._more if key[0] == owner]:
            del self._more[key]

    async def take_over(self, dead: str, district: District) -> bool:
        """Tell what a dead incarnation left in a district, as far as there is room; True when all is claimed."""
        return await self._fetch(dead, district, taken=True) == 0

    async def run(self) -> None:
        """Do what was left for later, for ever."""
        while True:
            try:
                await self.turn()
            except Exception:
                logger.exception("ends of connections could not be told")
            await asyncio.sleep(LOOK_EVERY)

    async def turn(self) -> None:
        """Try again what was parked, cross off what was told, fetch what waits in Redis."""
        parked, self._parked = self._parked, []
        for end in parked:
            if self._rests(self.shard(end.district)):
                self._parked.append(end)
            else:
                self._put(end)
        await self.cross_off()
        for key in list(self._more):
            if not self._queue.full and not self._rests(self.shard(key[1])):
                await self._look_again(*key)

    async def _look_again(self, owner: str, district: District) -> None:
        """Fetch what this process left in Redis; where more is left there meanwhile, it is fetched later."""
        before = self._more.pop((owner, district), 1)
        self._looking = True
        try:
            left = await self._fetch(owner, district, taken=False)
        except BaseException as error:
            self._more[owner, district] = before
            if not isinstance(error, StoreUnavailable):
                raise
            self._rest(self.shard(district))
        else:
            if left:
                self._more[owner, district] = left
        finally:
            self._looking = False

    async def cross_off(self) -> None:
        """Take out of Redis what was told."""
        await asyncio.gather(*(self._cross_off(*key) for key in list(self._told)))

    async def _fetch(self, owner: str, district: District, *, taken: bool) -> int:
        """Read some ends of a list in Redis and have them told; gives how many were not claimed yet."""
        room = 0 if self._queue.full else MAX_FETCHED
        shard = self.shard(district)
        count, *flat = await shard.run(ENDS, district.of(owner), [room, self._key_ttl, int(taken)])
        for client, value in zip(flat[::2], flat[1::2], strict=True):
            length, _, rest = value.partition(b"\n")
            user, note = rest[: int(length)].decode(), rest[int(length) :]
            self._offer(ConnectionEnd(owner, district, client.decode(), user, note, noted=False))
        return int(count)

    def _offer(self, end: ConnectionEnd) -> None:
        """Have an end told, unless that is under way here; one for which there is no room stays in Redis."""
        if (end.owner, end.client) in self._here:
            return
        if self._rests(self.shard(end.district)) and len(self._parked) < MAX_PARKED:
            self._here.add((end.owner, end.client))
            self._parked.append(end)
        elif self._queue.full or self._rests(self.shard(end.district)):
            self.look_later(end.owner, end.district)
        else:
            self._here.add((end.owner, end.client))
            self._put(end)

    def _put(self, end: ConnectionEnd) -> None:
        self._queue.put(end.client, NAME, lambda: self._claim_and_tell(end))

    async def _claim_and_tell(self, end: ConnectionEnd) -> None:
        shard = self.shard(end.district)
        if self._rests(shard):
            self._parked.append(end)
            return
        arguments: list[Argument] = [end.client, self._who, self._key_ttl, int(end.noted)]
        try:
            ours = await shard.run(CLAIM, end.district.of(end.owner), arguments)
        except StoreUnavailable:  # it may have been given all the same, and then to nobody else: it is asked for again
            self._rest(shard)
            self._parked.append(end)
            return
        except BaseException:
            self._here.discard((end.owner, end.client))
            self.look_later(end.owner, end.district)
            raise
        self._resting.pop(shard.index, None)
        try:
            if ours:
                await self._tell(end)
        finally:
            self._here.discard((end.owner, end.client))
            if ours:
                self._told.setdefault((end.owner, end.district), []).append(end.client)

    async def _cross_off(self, owner: str, district: District) -> None:
        clients = self._told.pop((owner, district))
        try:
            await self.shard(district).execute("HDEL", district.claimed(owner), *clients)
        except StoreUnavailable:
            pass  # what is not crossed off expires

    def shard(self, district: District) -> Shard:
        """The shard on which a district lives."""
        return self._store.shard_for(district.placement)

    def _rests(self, shard: Shard) -> bool:
        return shard.index in self._resting and self._resting[shard.index][0] > time.monotonic()

    def _rest(self, shard: Shard) -> None:
        _, backoff = self._resting.get(shard.index, (0.0, Backoff(first=LOOK_EVERY)))
        self._resting[shard.index] = (time.monotonic() + backoff.next(), backoff)
