"""Live data through every fault: `make live-chaos`. Writers change cards in concurrent transactions on PostgreSQL while
two instances, their Redis and the links are harmed as in `make chaos`; tabs show the cards with `live.js`. By even
seeds, some of the writing is SQL that comes past Django, which triggers see.

What holds: no tab shows a state that was not committed, or one older than it showed before; after each fault every tab
follows again; and when all is quiet, what each tab shows equals the rows. Cards' states are known without anything of
the platform: the writers note them in the same transactions. Of the faults, lies about positions are not made: a page
with `live.js` has no say in its position.

Exit status: 0 no violation, 1 violations, 2 not measured (too few faults, or too little written or shown).
"""

import argparse
import asyncio
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos import report
from tests.chaos.client import never_read
from tests.chaos.lanes import Lanes
from tests.chaos.live import verdict
from tests.chaos.live.tabs import NodeTabs, PageTabs, Screen, Tab, TabLink, Tabs, channel_of
from tests.chaos.log import Log
from tests.chaos.progress import progress
from tests.chaos.wire import token
from tests.chaos.world import Way, World
from tests.cluster.support.cardapp.places import BOARDS
from tests.cluster.support.harness import SECRET, manage
from tests.cluster.support.processes import READY_WITHIN, Process, eventually
from tests.host.support.postgres import Postgres, programs

SETTINGS = "tests.cluster.support.cardapp.settings"
INSTANCES = 2
NOT_MADE = ("lies about positions",)
TABS = ("websocket", "sse", "websocket", "sse", "websocket", "http_stream", "websocket", "sse")
PROCESSES, THREADS, RATE = 2, 4, 3.0  # of the writers; transactions a second of each thread
SETTLED_WITHIN = 30.0  # seconds after a fault, of which a killed relay's lease takes ten
EQUAL_WITHIN = 60.0  # seconds after the last commit
WARM = 3.0
LONGER = 1.5  # of the time on top: a few minutes must be enough for each fault once, on a busy machine too
HANGING = 4
COMMITTED, SHOWN = 200, 4000  # a minute, at least
EXAMPLES = 20
CONFIG: dict[str, Any] = {
    "ping_interval": 3,
    "pong_timeout": 2.5,
    "abuse": None,
    "live_bulk_max": 4,  # few: many changes at once are told as one, and loaded anew
    "namespaces": {
        "cards": {
            "history_size": 400,  # few: who was away for long loads anew
            "history_ttl": "2h",
            "force_recovery": True,
            "allow_subscribe_for_client": True,
        }
    },
}


class Writers(Process):
    """A process that changes cards."""

    def __init__(self, number: int, home: Path, env: dict[str, str], seed: int, by_hand: bool) -> None:
        super().__init__(f"writers-{number}", home)
        self._env = env
        self._options = ["--seed", str(seed), "--number", str(number), "--threads", str(THREADS), "--rate", str(RATE)]
        self._options += ["--beats"] * (not number) + ["--by-hand"] * by_hand

    def launch(self, *more: str) -> None:
        """Start it."""
        self.spawn([sys.executable, "-m", "tests.chaos.live.writers", *self._options, *more], self._env)

    def said(self) -> list[dict[str, Any]]:
        """What it has said so far."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    @property
    def beat(self) -> int:
        """The counter of the last beat that was committed."""
        return max((line["beat"] for line in self.said() if "beat" in line), default=0)


class Crowd:
    """The tabs, as the faults need them."""

    def __init__(self, world: World, tabs: list[Tab], chance: random.Random) -> None:
        self.members: Sequence[Tab] = tabs
        self._world, self._chance = world, chance

    async def burst(self, seconds: float) -> None:
        """Tabs leave boards and come back to them, all the time."""
        until = self._world.log.now + seconds
        while self._world.log.now < until:
            await asyncio.gather(*(tab.fidget(self._chance) for tab in self.members))

    async def lie(self, seconds: float) -> None:
        """Not made."""

    async def never_read(self, instance: int) -> None:
        """Some subscribe to every board and read nothing from then on."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        port, channels = self._world.instances[instance].port, tuple(channel_of(board + 1) for board in range(BOARDS))
        hanging = [
            asyncio.create_task(never_read(port, token(SECRET, f"hanging {number}"), channels, asyncio.shield(done)))
            for number in range(HANGING)
        ]
        await asyncio.sleep(3.0)
        done.set_result(None)
        await asyncio.gather(*hanging, return_exceptions=True)


class LiveCampaign:
    """One run. `violations` is empty when all was well; `figures` is what was measured."""

    def __init__(
        self,
        home: Path,
        minutes: float,
        seed: int,
        only: str = "",
        transports: Sequence[str] = TABS,
        where: type[NodeTabs | PageTabs] = NodeTabs,
    ) -> None:
        """`transports`: of the tabs, a tab for each; `where`: they run."""
        folder = programs()
        assert folder is not None, "PostgreSQL is not installed"
        self.seed, self.minutes = seed, minutes
        self.violations: list[str] = []
        self.figures: dict[str, Any] = {"seed": seed}
        self.log, self.screen = Log(), Screen()
        self.postgres = Postgres(home, folder)
        more = {"DJANGO_SETTINGS_MODULE": SETTINGS, "DATABASE_URL": self.postgres.url}
        self.world = World(home, self.log, CONFIG, INSTANCES, 1, **more)
        self._chance = random.Random(seed)
        self._tabs: list[Tab] = []
        self._crowd = Crowd(self.world, self._tabs, self._chance)
        self.lanes = Lanes(self.world, self._crowd, seed, minutes, self._settle, only=only, but=NOT_MADE, longer=LONGER)
        self._writers: list[Writers] = []
        self._waits: list[float] = []
        self._home, self._where, self._transports = home, where, transports

    async def run(self) -> None:
        """All of it."""
        try:
            await asyncio.to_thread(self.postgres.start)
            await self.world.start()
            async with self._where(self.screen) as driver, progress(self._line):
                await self._come(driver)
                await self.lanes.run()
                await self._settle()
                await self._rest()
                for tab in self._tabs:
                    await tab.leave()
        finally:
            for writers in self._writers:
                writers.stop()
            self.violations += await self.world.stop()
            self.postgres.stop()

    async def _come(self, driver: Tabs) -> None:
        env = self.world.instances[0]._env
        by_hand = not self.seed % 2
        if by_hand:
            await asyncio.to_thread(manage, env, "live_triggers")
        self._writers += [Writers(number, self._home, env, self.seed, by_hand) for number in range(PROCESSES)]
        first = Writers(PROCESSES, self._home, env, self.seed, by_hand)
        first.launch("--prepare")
        assert await asyncio.to_thread(first.wait, READY_WITHIN) == 0, first.tail()
        for number, transport in enumerate(self._transports):
            tab = Tab(f"tab-{number}-{transport}", driver, TabLink(Way(self.world)), transport)
            self._tabs.append(tab)
            await tab.come(self._chance.sample(range(1, BOARDS + 1), 3))
        wanted = {(tab.name, board) for tab in self._tabs for board in tab.boards}
        await eventually(lambda: self.screen.ready >= wanted, "all tabs show their boards", READY_WITHIN)
        for writers in self._writers:
            writers.launch()
        await asyncio.sleep(WARM)

    # ---- between faults

    def _behind(self, beat: int) -> list[str]:
        """Who does not show a beat yet."""
        return [
            f"{tab.name} board {board}"
            for tab in self._tabs
            for board in sorted(tab.boards)
            if self.screen.beats.get((tab.name, board), 0) < beat
        ]

    async def _settle(self) -> None:
        """Wait until all instances are ready and every tab shows what is committed from now on."""
        began, beat = self.log.now, self._writers[0].beat + 1
        while True:
            behind = self._behind(beat)
            waited = self.log.now - began
            if not behind and all(await self.world.ready()):
                break
            if waited > SETTLED_WITHIN:
                self.violations.append(f"after {waited:.0f} s beat {beat} is not shown by {', '.join(behind)}")
                for tab in self._tabs:
                    tab.drop()
                break
            if waited > 3.0:
                self.lanes.calm.clear()
            await asyncio.sleep(0.1)
        self.lanes.calm.set()
        self._waits.append(waited)

    def _line(self) -> str:
        return f"{self.log.now:6.0f} s  {len(self.screen.shown):7d} shown  {self.lanes.told}"

    # ---- the end

    async def _rest(self) -> None:
        """Let the writers end, wait until everything is shown, and judge."""
        for writers in self._writers:
            assert writers.running, writers.tail()
            writers.send(signal.SIGTERM)
            await asyncio.to_thread(writers.wait, READY_WITHIN)
        done: Counter[str] = Counter()
        for writers in self._writers:
            (said,) = (line for line in writers.said() if "done" in line)
            done.update(said["done"])
            self.violations += [f"a writer: {error}" for error in said["errors"]]
        cards, traces = await asyncio.to_thread(self._committed)
        began = self.log.now
        while (different := await self._different(cards)) and self.log.now - began < EQUAL_WITHIN:
            await asyncio.sleep(0.2)
        self.violations += different
        self.figures |= {
            "faults": sum(self.lanes.counts.values()),
            **done,
            "states shown": len(self.screen.shown),
            "times connected": self.screen.counts["connected"],
            "slowest to follow again": f"{max(self._waits):.1f} s",
            "equal after": f"{self.log.now - began:.1f} s",
        }
        self.violations += verdict.faults(self.screen.shown, verdict.stories(traces))
        self.violations += self.screen.refused

    def _committed(self) -> tuple[dict[int, dict[str, Any]], list[tuple[int, int, int, int]]]:
        with psycopg.connect(self.postgres.url) as connection:
            names = ("id", "board", "generation", "counter", "title")
            cards: dict[int, dict[str, Any]] = {board + 1: {} for board in range(BOARDS)}
            for values in connection.execute(f"SELECT {', '.join(names)} FROM cardapp_card"):
                card = dict(zip(names, values, strict=True))
                cards[card["board"]][str(card["id"])] = card
            traces = connection.execute("SELECT key, generation, counter, board FROM cardapp_trace").fetchall()
        return cards, traces

    async def _different(self, cards: dict[int, dict[str, Any]]) -> list[str]:
        found = []
        for tab in self._tabs:
            for board in sorted(tab.boards):
                if what := verdict.differences(cards[board], await tab.rows(board)):
                    found.append(f"at rest, {tab.name}, board {board}: {what}")
        return found

    def unmeasured(self) -> list[str]:
        """Why the run says too little; empty when it says enough."""
        least = report.least_faults(self.minutes)
        counts = self.lanes.counts
        found = [
            f"{fault.name} {counts[fault.name]} times of {least}"
            for fault in self.lanes.faults
            if counts[fault.name] < least
        ]
        for name, rate in (("committed", COMMITTED), ("states shown", SHOWN)):
            if self.figures.get(name, 0) < rate * self.minutes:
                found.append(f"{self.figures.get(name, 0)} {name} of {rate * self.minutes:.0f}")
        return found


def main() -> int:
    """Read the options, run and judge."""
    parser = argparse.ArgumentParser(description="Minutes of faults: does every tab show what was committed?")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=None, help="repeats the faults of an earlier run")
    parser.add_argument("--only", default="", help="faults whose name has this in it (then nothing counts as measured)")
    wanted = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if wanted.seed is None else wanted.seed
    home = Path(tempfile.mkdtemp(prefix=f"flotilla-live-{seed}-"))
    print(f"seed {seed}, {wanted.minutes:g} minutes; {home}", flush=True)
    began = time.monotonic()
    campaign = LiveCampaign(home, wanted.minutes, seed, wanted.only)
    try:
        asyncio.run(campaign.run())
    except (AssertionError, OSError, subprocess.SubprocessError) as error:  # it never came back
        campaign.violations.append(f"broken off: {error!r}")
    print(json.dumps(campaign.figures), f"in {time.monotonic() - began:.0f} s")
    for text in campaign.violations[:EXAMPLES]:
        print(f"  {text}")
    if campaign.violations:
        print(f"{len(campaign.violations)} violations; logs in {home}")
        return 1
    shutil.rmtree(home)
    if not wanted.only and (missing := campaign.unmeasured()):
        print(f"NOT MEASURED: {'; '.join(missing)}")
        return 2
    print("no violations")
    return 0


if __name__ == "__main__":
    sys.exit(main())
