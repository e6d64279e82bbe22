"""Failovers of Redis under load, measured: `make failover`.

A master with two replicas and three sentinels, two instances, writers that are answered through both, subscribers with
presence on both, a flood against a limit, durable publications. Each trial is one failover (`failover_faults`); of each
is told how long the sentinels took, for how long no publication was answered, when every subscriber had new ones, what
was lost of what was answered, who was told, and whether presence and the outbox are right.

The exit status is 1 where anything was missing in silence, or does not heal within `HEALS_WITHIN` of the moment from
which the sentinels name the new master.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from django.conf import settings

from tests.chaos.links import Link
from tests.cluster.campaigns.failover_faults import APART, KINDS, Kind, World
from tests.cluster.campaigns.failover_load import BURST, LIMITED, RATE, Load, kept_by
from tests.cluster.campaigns.failover_verdict import (
    Kept,
    longest_pause,
    lost,
    middle_and_most,
    stream_faults,
    subscriber_faults,
)
from tests.cluster.campaigns.outbox import NAMESPACE, SETTINGS, Crew, Database
from tests.cluster.campaigns.outbox_verdict import history_faults
from tests.cluster.campaigns.outbox_writer import CHANNELS
from tests.cluster.support.guarded import Guarded
from tests.cluster.support.processes import eventually
from tests.cluster.support.subscribers import CONFIG
from tests.store.redis_fleet import MASTER, wait_for

TRIALS = {"planned": 5, "killed": 5}
OTHERS = 2  # trials of each other kind
ROOMS, WRITERS = 8, 8
STEP = 15  # publications answered by each instance, before and after
WHOLE_WITHIN = 60.0  # seconds the sentinels take until another failover is possible
SWITCHED_WITHIN = 60.0
HEALS_WITHIN = 15.0  # seconds
BEGINS_WITHIN = 3.0  # seconds after the sentinels' word in which the pause begins that a failover makes
DURABLE, DURABLE_RATE = 150, 15.0  # durable publications of a trial, and how many a second
DRAINED_WITHIN = 60.0
FIRST = 100_000  # the durable ones of trial n are numbered from n times this on


@dataclass
class Trial:
    """What came of one. Times are seconds after the fault; `known` is None where the master stayed."""

    kind: str
    known: float | None = None
    unanswered: float = 0.0
    whole: float = 0.0
    answered: int = 0
    lost: int = 0
    told: int = 0
    subscribers: int = 0
    allowed: int = 0
    limit: float = 0.0
    present: bool = False
    memory: list[int] = field(default_factory=list)
    words: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Campaign:
    """The servers, and one trial after the other."""

    def __init__(self, world: World, home: Path) -> None:
        self._world = world
        self._database = Database("sqlite", home)
        self._home = home
        self._count = 0
        self._written: list[Crew] = []

    async def trial(self, kind: Kind) -> Trial:
        """One failover, from a healthy beginning to a verdict."""
        world, fleet, instances = self._world, self._world.cluster.fleet, self._world.cluster.instances
        await asyncio.to_thread(wait_for, fleet.whole, "the fleet is whole", WHOLE_WITHIN)
        await eventually(lambda: all(one.ready() for one in instances), "the instances are ready", WHOLE_WITHIN)
        self._count += 1
        load = Load(instances, str(self._count), ROOMS, WRITERS)
        made = Trial(kind.name, subscribers=len(load.watchers))
        world.old = await asyncio.to_thread(fleet.master)
        async with load.running():
            self._write()
            await load.more(STEP)
            await kind.before(world)
            await load.more(STEP)
            sentinels = asyncio.create_task(self._known())
            began = time.monotonic()
            await kind.begin(world)
            if not kind.stays:
                made.known = await sentinels - began
            sentinels.cancel()
            if kind.apart:
                await asyncio.sleep(APART)
            else:
                await load.more(STEP)
            await kind.end(world)
            await load.more(STEP)
            await self._all_on_the_master(load)
            made.present = await load.present()
        await self._judge(kind, made, load, began)
        return made

    async def _known(self) -> float:
        """When the first of the sentinels named another master."""
        old = str(self._world.old.port).encode()

        def named() -> bool:
            found = [
                one.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1] for one in self._world.cluster.fleet.sentinels
            ]
            return any(port != old for port in found)

        deadline = time.monotonic() + SWITCHED_WITHIN
        while time.monotonic() < deadline:
            if await asyncio.to_thread(named):
                return time.monotonic()
            await asyncio.sleep(0.02)
        raise AssertionError("the sentinels have no other master")

    async def _all_on_the_master(self, load: Load) -> None:
        """Wait until what each instance answers is in the final master's streams."""
        fleet = self._world.cluster.fleet

        def kept(room: str) -> Kept:
            return kept_by(fleet.master(), room)

        deadline = time.monotonic() + WHOLE_WITHIN
        waiting = {one.name for one in self._world.cluster.instances}
        while waiting and time.monotonic() < deadline:
            for name in tuple(waiting):
                room, placed = load.newest_of(name)
                found = await asyncio.to_thread(kept, room)
                if placed[0] == found.epoch and placed[1] in found.entries:
                    waiting.discard(name)
            await asyncio.sleep(0.05)
        assert not waiting, f"these do not write to the master: {waiting}"

    def _write(self) -> None:
        """Have durable publications written from now on."""
        crew = Crew(self._count, self._home)
        options = {"first": FIRST * self._count, "messages": DURABLE, "threads": 1, "seed": self._count}
        words = [
            word for name, value in (options | {"rate": DURABLE_RATE}).items() for word in (f"--{name}", str(value))
        ]
        crew.spawn([sys.executable, "-m", "tests.cluster.campaigns.outbox_writer", *words], self._world.cluster.env)
        self._written.append(crew)

    async def _judge(self, kind: Kind, made: Trial, load: Load, began: float) -> None:
        instances = self._world.cluster.instances
        master = await asyncio.to_thread(self._world.cluster.fleet.master)
        begins = float("inf") if kind.apart else (made.known or 0.0) + BEGINS_WITHIN
        pauses = [longest_pause(load.moments(one.name), began, begins) for one in instances]
        made.unanswered = max(length for length, _ in pauses)
        resumed = max(end for _, end in pauses)
        for room in load.rooms:
            kept = await asyncio.to_thread(kept_by, master, room)
            answered = {number: answer.placed for number, answer in load.answered[room].items()}
            made.answered += len(answered)
            gone = lost(answered, kept)
            made.lost += len(gone)
            made.faults += stream_faults(answered, kept)
            for watcher in (one for one in load.watchers if one.channel == room):
                made.faults += [f"{room}: {fault}" for fault in subscriber_faults(watcher.spans, kept)]
                made.told += watcher.told_of_a_gap
                if gone and not watcher.told_of_a_gap:
                    made.faults.append(f"{room}: {len(gone)} were lost, and a subscriber was not told")
                given = {number: at for number, at in watcher.first_given.items() if number in answered}
                new = [at for number, at in given.items() if load.answered[room][number].at >= resumed]
                made.whole = max(made.whole, min(new, default=max(given.values(), default=began)) - began)
                for word in watcher.told:
                    made.words[word] = made.words.get(word, 0) + 1
        for error in load.errors:
            made.errors[error] = made.errors.get(error, 0) + 1
        made.allowed, made.limit = load.allowed, load.limit
        masters = 2 if kind.apart else 1  # each counts by itself while they are apart
        if made.allowed > masters * (made.limit + BURST):  # what Redis has lost is a burst at most
            made.faults.append(f"the limit of {made.limit:.0f} let {made.allowed} through")
        made.memory = [psutil.Process(one.pid).memory_info().rss >> 20 for one in instances]
        if not made.present:
            made.faults.append("presence is not right")
        made.faults += await self._outbox_faults()

    async def _outbox_faults(self) -> list[str]:
        """What is wrong with the durable publications so far, once they had the time to be sent again."""
        await eventually(lambda: all(crew.tallies or not crew.running for crew in self._written), "the writers end", 60)
        errors = [tally["error"] for crew in self._written for tally in crew.tallies if tally["error"]]
        if errors:
            return [f"a writer: {errors[0]}"]
        expected = self._database.committed()
        deadline = time.monotonic() + DRAINED_WITHIN
        while True:
            faults = await asyncio.to_thread(self._history_faults, expected)
            if not faults or time.monotonic() > deadline:
                return faults
            await asyncio.sleep(0.5)

    def _history_faults(self, expected: dict[str, list[int]]) -> list[str]:
        master, faults = self._world.cluster.fleet.master(), []
        for channel in CHANNELS:
            found = [data["n"] for data in kept_by(master, channel).entries.values()]  # type: ignore[index]
            faults += [f"{channel}: {fault}" for fault in history_faults(expected[channel], found)]
        return faults

    def close(self) -> None:
        """End its writers."""
        for crew in self._written:
            crew.stop()


@asynccontextmanager
async def world(home: Path, linked: bool) -> AsyncIterator[World]:
    """Everything is there, and ended in any case."""
    limited = {"allow_publish_for_client": True, "allow_subscribe_for_client": True}
    config = CONFIG | {
        "namespaces": CONFIG["namespaces"] | {LIMITED: limited, "outbox": NAMESPACE, "cards": NAMESPACE},
        "rate_limits": {
            "flood": {
                "guards": f"ws.publish:{LIMITED}",
                "key": "user",
                "rate": f"{RATE}/s burst={BURST}",
                "failure": "closed",
            }
        },
        "abuse": None,
        "max_channels": 40,
    }
    database = f"sqlite:///{home}/db.sqlite3"
    more = {"DJANGO_SETTINGS_MODULE": SETTINGS, "DATABASE_URL": database}
    cluster = Guarded(home, config, "flotilla", "flotilla", fleet={"guarded": True}, **more)
    links = [Link(sentinel.port) for sentinel in cluster.fleet.sentinels]
    try:
        url = cluster.fleet.url
        for link in links:
            await link.start()
            url = url.replace(f":{link.target}", f":{link.port}")
        if linked:
            cluster.instances[0]._env["REDIS_URL"] = url
        await asyncio.to_thread(cluster.start)
        yield World(cluster, links)
    finally:
        await asyncio.to_thread(cluster.stop)
        cluster.fleet.close()
        for link in links:
            await link.stop()


def table(trials: Sequence[Trial]) -> str:
    """The trials by kind, for a document: medians, and the most in brackets."""
    kinds = defaultdict(list)
    for one in trials:
        kinds[one.kind].append(one)
    lines = [
        "| failover | trials | the sentinels have another master after, s | no answer for, s "
        "| every subscriber has new ones after, s | lost of what was answered | subscribers told | silent gaps |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, ones in kinds.items():
        known = [one.known for one in ones if one.known is not None]
        answered = sum(one.answered for one in ones)
        gone = ", ".join(str(one.lost) for one in ones)
        told = ", ".join(str(one.told) for one in ones)
        times = (known, [one.unanswered for one in ones], [one.whole for one in ones])
        cells = [name, str(len(ones)), *map(middle_and_most, times), f"{gone} of {answered}"]
        cells += [f"{told} of {ones[0].subscribers}", str(sum(len(one.faults) for one in ones))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def slow(trials: Sequence[Trial]) -> list[str]:
    """Those that did not heal in time after the sentinels had another master; of those that are kept apart, nothing is
    said: it takes as long as they are."""
    apart = {kind.name for kind in KINDS if kind.apart}
    late = [one for one in trials if one.kind not in apart and one.whole - (one.known or 0.0) > HEALS_WITHIN]
    return [f"{one.kind}: whole only {one.whole:.1f} s after the fault" for one in late]


async def run(kinds: Sequence[Kind], trials: int, home: Path) -> list[Trial]:
    """All trials; prints each as it ends."""
    done = []
    async with world(home, kinds[0].linked) as made:
        campaign = Campaign(made, home)
        try:
            for kind in kinds:
                for _ in range(trials or TRIALS.get(kind.name, OTHERS)):
                    one = await campaign.trial(kind)
                    done.append(one)
                    print(json.dumps(asdict(one)), flush=True)
        finally:
            campaign.close()
            for log in (one.log for one in made.cluster.instances):
                lines = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
                print(f"{log.name}: {len(lines)} errors", *lines[:5], sep="\n  ", flush=True)
    return done


def main() -> None:
    """Read the options, run, judge."""
    parser = argparse.ArgumentParser(description="Failovers of Redis under load, measured.")
    parser.add_argument("--only", action="append", choices=[kind.name for kind in KINDS], help="kinds (all)")
    parser.add_argument("--trials", type=int, default=0, help="of each kind (5 planned, 5 killed, 2 of each other)")
    parser.add_argument("--keep", type=Path, help="a folder for the logs, which is kept")
    wanted = parser.parse_args()
    settings.configure()  # for where a channel's keys are
    kinds = [kind for kind in KINDS if not wanted.only or kind.name in wanted.only]
    with tempfile.TemporaryDirectory(prefix="flotilla-failover-") as temporary:
        home = wanted.keep or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        trials = []
        for linked in (False, True):
            if some := [kind for kind in kinds if kind.linked is linked]:
                place = home / ("linked" if linked else "plain")
                place.mkdir()
                trials += asyncio.run(run(some, wanted.trials, place))
    print(table(trials))
    faults = [f"{one.kind}: {fault}" for one in trials for fault in one.faults] + slow(trials)
    print(*faults[:20], "FAILED" if faults else "nothing was missing in silence", sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
