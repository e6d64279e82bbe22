"""The campaign: `make chaos`. Minutes of faults on a cluster under load, and a verdict.

A lane of faults goes through the servers (instances, Redis, the links between them), another through the clients, each
in an order that the seed decides. After each fault the crowd must come to rest. At the end everything must be whole:
history, presence, one leave each, memory. The verdict is the checker's, from the log alone.

Exit status: 0 no violation, 1 violations, 2 not measured (too few publications, deliveries or faults to say anything).
"""

import argparse
import asyncio
import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from tests.chaos import report
from tests.chaos.checker import Limit, Rules, check
from tests.chaos.client import Member
from tests.chaos.cluster_faults import CLUSTER_FAULTS
from tests.chaos.crowd import CONFIG, FLOOD_BURST, FLOOD_RATE, FLOODS, ROOMS, Crowd
from tests.chaos.faults import FAULTS, Choice, Fault
from tests.chaos.inspection import Inspection
from tests.chaos.lanes import Lanes
from tests.chaos.log import Health, Log, LogLine, Phase, Settled
from tests.chaos.previous import checkout, first_of_this_release
from tests.chaos.progress import progress
from tests.chaos.wire import token
from tests.chaos.world import World
from tests.cluster.support.harness import SECRET

INSTANCES = 2
SETTLED_WITHIN = 20.0  # seconds after a fault
WATCHING_WITHIN = 30.0
WARM = 3.0
RULES = Rules(limits={name: Limit(FLOOD_RATE, FLOOD_BURST, failure == "open") for name, failure in FLOODS.items()})
KILLED = "instance killed"
BEFORE_THIS = "before this release"


class Campaign:
    """One run. `log` has everything that was seen."""

    def __init__(
        self,
        home: Path,
        minutes: float,
        seed: int,
        shards: int,
        only: str = "",
        previous: Path | None = None,
        cluster: bool = False,
    ) -> None:
        self.log = Log()
        self.minutes = minutes
        self.seed = seed
        self.only = only
        self.shards = shards
        self.world = World(home, self.log, CONFIG, INSTANCES, shards, previous, cluster)
        self.faults = CLUSTER_FAULTS if cluster else FAULTS
        self.crowd = Crowd(self.world)
        self._inspection = Inspection(self.world)
        self._lanes = Lanes(
            self.world, self.crowd, seed, minutes, self._settle, self._inspected, only, among=self.faults
        )
        self._measured: set[tuple[int, int]] = set()

    async def run(self) -> None:
        """All of it."""
        try:
            await self.world.start()
            async with progress(self._line, self.world.watch_itself()):
                await self.crowd.come()
                self.crowd.publish()
                await asyncio.sleep(WARM)
                self._measure()
                await self._lanes.run()
                await self._rest()
        finally:
            late = await self.world.stop()
        self.log += [LogLine(self.log.now, "campaign", text) for text in late]
        self._inspection.read_logs()

    @contextlib.asynccontextmanager
    async def _inspected(self, fault: Fault, choice: Choice) -> AsyncIterator[None]:
        """What history was before something is lost, and who of a killed instance's is still present after it."""
        if not fault.lossless:
            await self._inspection.census()
        began, there = self.log.now, self.crowd.at(choice.instance)
        yield
        if fault.name == KILLED:
            await self._inspection.buried(choice.instance, there, began)

    async def _settle(self) -> None:
        """Wait until all instances are ready and everybody gets what is published from now on."""
        began = self.log.now
        while True:
            ready = await self.world.ready()
            missing = self.crowd.missing(began)
            waited = self.log.now - began
            if (all(ready) and not missing) or waited > SETTLED_WITHIN:
                break
            if waited > 3.0:
                self._lanes.calm.clear()
            await asyncio.sleep(0.1)
        self._lanes.calm.set()
        self.log.append(Settled(self.log.now, waited, missing))
        for instance, one in zip(self.world.instances, ready, strict=True):
            self.log.append(Health(self.log.now, instance.name, one, waited))
        for number, one in enumerate(ready):
            if not one and waited > SETTLED_WITHIN:
                await self._restart(number)
        for member in self.crowd.members:
            if member.name in missing:
                member.drop()
        self._measure()

    async def _restart(self, number: int) -> None:
        """As an operator would with an instance that does not come back by itself, so that the rest is measured."""
        instance = self.world.instances[number]
        self.world.disturb(number)
        await asyncio.to_thread(instance.kill)
        self.world.launch(number)
        await asyncio.to_thread(instance.wait_ready)
        self.world.undisturb(number)

    def _measure(self) -> None:
        """Note what each new life of an instance holds, once it serves."""
        for number, life in enumerate(self.world.lives):
            if (number, life) not in self._measured:
                self._measured.add((number, life))
                self.world.measure(number, "before")

    # ---- the end

    async def _rest(self) -> None:
        await self._settle()
        await self.crowd.burst(1.0, again=True)
        await self.crowd.fall_silent()
        self.log.append(Phase(self.log.now, "quiet"))
        await asyncio.sleep(1.0)
        await self._inspection.at_rest("present", self.crowd.members)
        await self._inspection.census()
        watchers = [
            Member(f"watcher-{number}", self.log, self.world.direct(number), token(SECRET, "watcher"), tuple(ROOMS))
            for number in range(INSTANCES)
        ]
        for watcher in watchers:
            watcher.start()
        async with asyncio.timeout(WATCHING_WITHIN):
            while not all(watcher.here for watcher in watchers):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        self.log.append(Phase(self.log.now, "leaving"))
        await self.crowd.leave()
        await self._inspection.at_rest("left", watchers)
        await asyncio.sleep(1.0)
        self.log.append(Phase(self.log.now, "left"))
        await asyncio.gather(*(watcher.leave() for watcher in watchers))
        await asyncio.sleep(WARM)
        for number in range(INSTANCES):
            self.world.measure(number, "after")
        self.log.append(Phase(self.log.now, "end"))

    def _line(self) -> str:
        here = sum(member.here for member in self.crowd.members)
        return (
            f"{self.log.now:6.0f} s  {self.log.publications:7d} published  {self.log.deliveries:8d} delivered"
            f"  {here:3d} here  {self._lanes.told}"
        )


def main() -> int:
    """Read the options, run and judge."""
    parser = argparse.ArgumentParser(
        description="Minutes of faults under load: is anything lost, doubled or left behind?"
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=None, help="repeats the faults of an earlier run")
    parser.add_argument("--shards", type=int, default=1, help="how many Redises")
    parser.add_argument("--engine", choices=("redis", "cluster"), default="redis", help="cluster: one Redis Cluster")
    parser.add_argument(
        "--only",
        default="",
        help="faults whose name has one of these words in it, by commas (then nothing counts as measured)",
    )
    parser.add_argument(
        "--previous",
        nargs="?",
        const=BEFORE_THIS,
        default="",
        metavar="REVISION",
        help="one instance is of this revision, without one of the commit before this release's first",
    )
    parser.add_argument("--report", type=Path, default=None, help="a folder for the log of events and of the processes")
    wanted = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if wanted.seed is None else wanted.seed
    if wanted.report is not None:
        wanted.report.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f"flotilla-chaos-{seed}-", dir=wanted.report))
    cluster = wanted.engine == "cluster"
    where = "a Redis Cluster" if cluster else f"{wanted.shards} Redis"
    print(f"seed {seed}, {wanted.minutes:g} minutes, {where}; {home}", flush=True)
    with contextlib.ExitStack() as stack:
        previous = None
        if wanted.previous:
            revision = f"{first_of_this_release()}^" if wanted.previous == BEFORE_THIS else wanted.previous
            print(f"instance-0 is of {revision}", flush=True)
            previous = stack.enter_context(checkout(revision, home))
        campaign = Campaign(home, wanted.minutes, seed, wanted.shards, wanted.only, previous, cluster)
        return _run(campaign, wanted.report)


def _run(campaign: Campaign, kept: Path | None) -> int:
    home, began = campaign.world.home, time.monotonic()
    try:
        asyncio.run(campaign.run())
    except (
        AssertionError,
        OSError,
        subprocess.SubprocessError,
    ) as error:  # it never came back
        campaign.log.append(LogLine(campaign.log.now, "campaign", f"broken off: {error!r}"))
    finally:
        campaign.log.sort(key=lambda event: event.at)
        campaign.log.save(home / "events.jsonl")
    violations = check(campaign.log, RULES)
    took = time.monotonic() - began
    status = report.show(campaign.log, violations, campaign.minutes, took, bool(campaign.only), campaign.faults)
    print(f"seed {campaign.seed}" + (f", log {home / 'events.jsonl'}" if status == 1 or kept else ""))
    if not status and kept is None:
        shutil.rmtree(home)
    return status


if __name__ == "__main__":
    sys.exit(main())
