"""Many clients and steady publishers before the balancer, and the count of what they got.

A member is a client of the protocol that comes back by itself (`subscribers.Subscriber`) and notes when which instance
let it in. `Crowd.faults` compares what each member was given with what was acknowledged.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tests.cluster.support.processes import eventually
from tests.cluster.support.subscribers import Faults, Subscriber
from tests.compose.publishing import Publishers
from tests.compose.stack import Stack

CONNECTING_AT_ONCE = 100  # on the way in, at the beginning


@dataclass
class Member(Subscriber):
    """`admissions`: when (monotonic) it was let in by which instance. `absences`: seconds from each loss of the
    connection until its subscription was whole again."""

    admissions: list[tuple[float, str]] = field(default_factory=list)
    absences: list[tuple[float, float]] = field(default_factory=list)  # (from when, how long)
    _away_since: float | None = None

    @property
    def here(self) -> bool:
        """Whether its subscription is whole."""
        return self.ready.is_set() and self._away_since is None

    def connected(self, result: dict[str, Any]) -> None:
        """The reply to connect."""
        self.admissions.append((time.monotonic(), result["data"]["instance"]))

    def subscribed(self, result: dict[str, Any]) -> None:
        """The reply to subscribe."""
        super().subscribed(result)
        if self._away_since is not None:
            self.absences.append((self._away_since, time.monotonic() - self._away_since))
            self._away_since = None

    def lost(self) -> None:
        """The connection has ended."""
        if self.ready.is_set() and self._away_since is None:
            self._away_since = time.monotonic()


class Crowd:
    """Use as `async with Crowd(stack, rooms=…, members=…, per_second=…) as crowd`: inside the block there is load."""

    def __init__(self, stack: Stack, name: str, *, rooms: int, members: int, per_second: float) -> None:
        self.rooms = [f"proof:{name}-{number}" for number in range(rooms)]
        self.members = [Member(stack.url, self.rooms[number % rooms]) for number in range(members)]
        self._publishers = Publishers(stack.port, self.rooms, per_second)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Crowd":
        for start in range(0, len(self.members), CONNECTING_AT_ONCE):
            some = self.members[start : start + CONNECTING_AT_ONCE]
            self._tasks += [asyncio.create_task(member.run()) for member in some]
            await asyncio.wait_for(asyncio.gather(*(member.ready.wait() for member in some)), 60)
        await asyncio.to_thread(self._publishers.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._publishers.stop)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def all_here(self, within: float = 60.0) -> None:
        """Wait until every member is connected and subscribed."""
        await eventually(lambda: all(member.here for member in self.members), "everybody is back", within)

    async def faults(self, within: float = 60.0) -> Faults:
        """Stop publishing, wait until all has arrived or cannot any more, and count."""
        await asyncio.to_thread(self._publishers.stop)
        total = self.acknowledged
        try:
            await eventually(lambda: all(m.offset >= total[m.channel] for m in self.members), "all has come", within)
        except AssertionError:
            pass  # the count says what is missing
        faults = Faults()
        for member in self.members:
            faults.count(member.offsets, total[member.channel])
        return faults

    @property
    def acknowledged(self) -> Counter[str]:
        """How many publications of each room were acknowledged."""
        return self._publishers.acknowledged

    @property
    def latest(self) -> float:
        """Seconds from when a publication was due until it was acknowledged, of the latest of all."""
        return self._publishers.latest

    @property
    def unrecovered(self) -> int:
        """How often a member came back and could not be given what it had missed."""
        return sum(member.unrecovered for member in self.members)

    def absences(self, since: float) -> list[float]:
        """Seconds each absence lasted that began after `since` (monotonic)."""
        return [took for member in self.members for began, took in member.absences if began >= since]

    def instances(self) -> Counter[str]:
        """How many members each instance serves."""
        return Counter(member.admissions[-1][1] for member in self.members)

    def admitted(self, instance: str, since: float, until: float) -> list[float]:
        """When (monotonic) an instance let members in, in that time, in order."""
        times = (at for member in self.members for at, by in member.admissions if by == instance)
        return sorted(at for at in times if since <= at <= until)


def rates(times: list[float]) -> tuple[float, int]:
    """(mean per second while admitting, most in any one second) of sorted times."""
    if not times:
        return 0.0, 0
    most, first = 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return len(times) / max(1.0, times[-1] - times[0]), most
