"""The faults of a campaign, lane beside lane, in the order that its seed decides: made, held, and taken back.

After each fault of the servers the campaign's `settle` waits until everybody has what is sent from then on. The lane of
the clients pauses while that takes long (`calm` is cleared).
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager

from tests.chaos import report
from tests.chaos.faults import CLIENTS, FAULTS, SERVERS, Choice, Fault, Members, Stage, schedule
from tests.chaos.log import FaultBegan, FaultEnded
from tests.chaos.world import World

LONGER = 0.5  # of the time on top, so that a slow machine gets through every fault
BETWEEN = 2.0  # seconds between faults of the clients

Around = Callable[[Fault, Choice], AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def _plainly(fault: Fault, choice: Choice) -> AsyncIterator[None]:
    yield


class Lanes:
    """Use `run`. `around`: what is done before and after each fault; `but`: names of faults that are not made;
    `longer`: how much of the time on top there is to make each often enough; `among`: all faults there are."""

    def __init__(
        self,
        world: World,
        crowd: Members,
        seed: int,
        minutes: float,
        settle: Callable[[], Awaitable[None]],
        around: Around = _plainly,
        only: str = "",
        but: Collection[str] = (),
        longer: float = LONGER,
        among: Sequence[Fault] = FAULTS,
    ) -> None:
        wanted = only.split(",")
        self.faults = [fault for fault in among if any(word in fault.name for word in wanted) and fault.name not in but]
        self.minutes = minutes
        self.counts: Counter[str] = Counter()
        self.calm = asyncio.Event()
        self.calm.set()
        self.now = dict.fromkeys((SERVERS, CLIENTS), "")
        self._world, self._crowd, self._seed = world, crowd, seed
        self._settle, self._around = settle, around
        self._longer = longer
        self._ends = 0.0

    @property
    def told(self) -> str:
        """How many faults there were, and which there are now, for people."""
        now = ", ".join(filter(None, self.now.values())) or "-"
        return f"{sum(self.counts.values()):3d} faults  now: {now}"

    async def run(self) -> None:
        """All faults, for as long as it takes to make each often enough."""
        self._ends = self._world.log.now + self.minutes * 60
        await asyncio.gather(self._lane(SERVERS), self._lane(CLIENTS))

    async def _lane(self, lane: str) -> None:
        stage = Stage(self._world, self._crowd)
        faults = [fault for fault in self.faults if fault.lane == lane]
        instances, shards = len(self._world.instances), len(self._world.stores)
        for fault, choice in schedule(self._seed, lane, instances, shards, self.faults):
            if self._enough(faults):
                return
            if lane == CLIENTS:
                await self.calm.wait()
            async with self._around(fault, choice):
                await self._fault(stage, fault, choice)
            await (self._settle() if lane == SERVERS else asyncio.sleep(BETWEEN))

    def _enough(self, faults: list[Fault]) -> bool:
        over = self._world.log.now - self._ends
        if over < 0:
            return False
        least = report.least_faults(self.minutes)
        return all(self.counts[fault.name] >= least for fault in faults) or over > self._longer * self.minutes * 60

    async def _fault(self, stage: Stage, fault: Fault, choice: Choice) -> None:
        self.now[fault.lane] = fault.name
        log = self._world.log
        target = fault.target(choice)
        log.append(FaultBegan(log.now, fault.name, fault.lane, fault.lossless, fault.deafens, target, fault.away))
        await fault.do(stage, choice)
        await asyncio.sleep(choice.seconds if fault.undo.__name__ != "nothing" else 0)
        await fault.undo(stage, choice)
        log.append(FaultEnded(log.now, fault.name, fault.lane))
        self.counts[fault.name] += 1
        self.now[fault.lane] = ""
