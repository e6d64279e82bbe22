"""Who is blocked, as this instance knows it: a table that is asked at every connect and costs no round trip.

A command tells every instance of a block. Besides, the list's version in Redis is compared every few seconds, at the
start and after a reconnect, and the list is read when it has changed. While Redis is away the table as it was last
known counts; a Redis that comes back without the blocks is given them again.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime

from flotilla.ratelimit.http.addresses import counted
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.blocks.blocklist import ADDRESS, USER
from flotilla.realtime.protocol.codes import DisconnectCode, DisconnectError
from flotilla.store import Store, StoreUnavailable, supervised

logger = logging.getLogger("flotilla.realtime.blocks")

CHECK_EVERY = 2.0  # seconds


class Blocks:
    """The table. `on_new` is given those who are blocked from now on and were not told by a command, and says how many
    clients it ended for whom."""

    def __init__(
        self,
        store: Store,
        on_new: Callable[[Collection[str]], Awaitable[Mapping[str, int]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._on_new = on_new
        self._clock = clock
        self._ends: dict[str, float] = {}  # who → when it ends, by our clock
        self._version: int | None = None  # of the list as it was read last
        self._seen = 0  # the highest version, read or told by a command
        self._changes = 0  # told by commands
        self._ended: Mapping[str, int] = {}  # clients, of those who were new when the list was read last
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._ends)

    def start(self) -> None:
        """Begin to check the list."""
        self._task = supervised("blocks", self._keep_checking)

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # Asking

    async def known(self) -> None:
        """See that the list was read at least once. Raises StoreUnavailable."""
        if self._version is None:
            await self.check()

    def against(self, user: str, address: str) -> str:
        """Why a client may not connect; "" when nobody blocked it."""
        if not self._ends:
            return ""
        left = max(self._left(USER + user), self._left(ADDRESS + counted(address)))
        if left <= 0:
            return ""
        return f"blocked until {datetime.fromtimestamp(time.time() + left, UTC):%Y-%m-%d %H:%M:%S} UTC"

    def require(self, user: str, address: str) -> None:
        """Raise DisconnectError 3507 for who is blocked."""
        if reason := self.against(user, address):
            raise DisconnectError(DisconnectCode.PERMISSION_DENIED, reason, detail=reason)

    def _left(self, who: str) -> float:
        return self._ends.get(who, 0.0) - self._clock()

    # Changes

    def note(self, who: str, seconds: float, version: int = 0) -> int:
        """Somebody is blocked for so long from now on, which made the list's `version`. Returns how many clients were
        ended already, because the list was read before this was told."""
        already = self._ended.get(who, 0) if version <= (self._version or 0) else 0
        self._changes += 1
        self._seen = max(self._seen, version)
        self._ends[who] = self._clock() + seconds
        return already

    def lift(self, who: str, version: int = 0) -> bool:
        """A block is over; False when there was none."""
        self._changes += 1
        self._seen = max(self._seen, version)
        return self._ends.pop(who, 0.0) > self._clock()

    # Checking the list

    def check_soon(self) -> None:
        """The connection to Redis was lost: commands that were sent meanwhile did not come."""
        self._due.set()

    async def check(self) -> None:
        """Read the list if it changed. Raises StoreUnavailable."""
        seen = self._seen  # before it is asked for: what is told meanwhile may be newer than the answer
        version = await blocklist.version(self._store)
        if version == self._version and version >= seen:
            return
        now = self._clock()
        if version < seen:
            known = {who: ends - now for who, ends in self._ends.items() if ends > now}
            logger.warning("Redis has lost the list of blocks; %d are put back", len(known))
            await blocklist.put_back(self._store, self._seen, known)
        await self._read()

    async def _read(self) -> None:
        while True:
            changes = self._changes
            version, left = await blocklist.read(self._store)
            if changes == self._changes:
                break  # else what was told meanwhile may be newer than what was read
        now = self._clock()
        new = [who for who in left if self._ends.get(who, 0.0) <= now]
        self._ends = {who: now + seconds for who, seconds in left.items()}
        self._version, self._seen = version, max(self._seen, version)
        self._ended = await self._on_new(new) if new else {}

    async def _keep_checking(self) -> None:
        while True:
            self._due.clear()
            self._forget_ended()
            with contextlib.suppress(StoreUnavailable):  # the table stays as it is
                await self.check()
            try:
                async with asyncio.timeout(CHECK_EVERY):
                    await self._due.wait()
            except TimeoutError:
                pass

    def _forget_ended(self) -> None:
        now = self._clock()
        for who in [who for who, ends in self._ends.items() if ends <= now]:
            del self._ends[who]
