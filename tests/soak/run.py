"""The soak: `make soak`. Everything that may be asked of two instances, at steady rates for MINUTES; what they, their
Redis and their database hold must not grow.

    python -m tests.soak.run [--minutes 30] [--connections 300] [--publications 50] … [--output FOLDER]

Into the folder (var/soak) go `samples.json`, the log of the instances, and `soak.svg` where matplotlib is installed.

Exit status: 0 all series are flat, 1 one grows, an instance has died, or the log tells of an error that nobody handled,
2 not measured (too short for its noise, or the churn did not keep its rates).
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.cluster.support.processes import ROOT
from tests.realtime.webhooks.receiver import Service, serving
from tests.soak import chart
from tests.soak.churn import Churn, Rates
from tests.soak.sampling import Died, Sample, Sampler
from tests.soak.series import WARM_UP, Judged, judge
from tests.soak.slopes import Verdict
from tests.soak.world import World

EVERY = 5.0  # seconds
TOLD_EVERY = 30.0  # seconds
GROWN = 12  # types of objects that are shown
ERRORS = 12  # kinds of errors that are shown, and lines of the log
MAX_CHARACTERS = 600  # of one


def never(_: "Seen") -> bool:
    """The run takes its time."""
    return False


Enough = Callable[["Seen"], bool]


@dataclass
class Seen:
    """What a run has seen. `times` are seconds since its begin; `grown`: objects by type, by instance, since the
    warm-up."""

    times: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    grown: dict[str, dict[str, int]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    events: int = 0  # that webhooks have told
    slow: list[str] = field(default_factory=list)
    died: str = ""
    faults: list[str] = field(default_factory=list)  # lines of the log


Leaks = Mapping[str, int]
"""Leaks on purpose: what (memory, files, tasks, keys), and how many more every second."""
NONE: Leaks = {}


class Soak:
    """One run."""

    def __init__(self, world: World, service: Service, rates: Rates, minutes: float, leaks: Leaks = NONE) -> None:
        self.seen = Seen()
        self._world, self._service, self._minutes, self._leaks = world, service, minutes, leaks
        self._churn = Churn(world, rates)
        self._sampler = Sampler(world, lambda: self._churn.tally.held)
        self._types: dict[str, Counter[str]] = {}
        self._told = 0.0

    async def run(self, every: float = EVERY, enough: Enough = never) -> None:
        """All of it, in a running world, or until it is enough."""
        loop = asyncio.get_running_loop()
        began = due = loop.time()
        self._churn.start()
        leaking = [asyncio.create_task(self._churn.leak(what, size)) for what, size in self._leaks.items()]
        try:
            while (now := loop.time() - began) < 60 * self._minutes:
                await self._look(now)
                if enough(self.seen):
                    break
                due = max(due + every, loop.time())
                await asyncio.sleep(due - loop.time())
        except Died as error:
            self.seen.died = str(error)
        finally:
            self.seen.slow = self._churn.slow()
            for task in leaking:
                task.cancel()
            await self._churn.stop()
            self._finish()

    async def _look(self, now: float) -> None:
        if self._churn.broken is not None:
            raise self._churn.broken
        self.seen.samples.append(await self._sampler.take())
        self.seen.times.append(now)
        if not self._types and now > WARM_UP * 60 * self._minutes:
            self._types = self._sampler.types()
        with self._service.lock:  # the service keeps what it was told
            self.seen.events += len(self._service.events)
            for kept in (self._service.events, self._service.requests, self._service.paths):
                kept.clear()
        if now >= self._told:
            self._told = now + TOLD_EVERY
            _tell(now, self.seen.samples[-1], self._churn)

    def _finish(self) -> None:
        tally = self._churn.tally
        self.seen.done, self.seen.errors, self.seen.faults = tally.done, tally.errors, self._sampler.faults
        if self._types and not self.seen.died:
            for name, types in self._sampler.types().items():
                types.subtract(self._types[name])
                self.seen.grown[name] = dict(types.most_common(GROWN))
        self._sampler.close()


def _tell(now: float, sample: Sample, churn: Churn) -> None:
    """One line of progress."""
    memory = " ".join(f"{sample[name]:.0f}" for name in sample if name.startswith("unit") and name.endswith(": memory"))
    done = churn.tally.done
    print(
        f"{now:6.0f} s  {churn.tally.held:4d} clients  {done['connects']:6d} connects  {done['publications']:7d} "
        f"published  {done['deliveries']:8d} delivered  {done['requests']:6d} requests  {memory} MiB  "
        f"{sample['redis: keys']:.0f} keys  {sum(churn.tally.errors.values())} errors",
        flush=True,
    )


def soak(
    home: Path, rates: Rates, minutes: float, leaks: Leaks = NONE, every: float = EVERY, enough: Enough = never
) -> Seen:
    """A run on ground of its own in a folder; it ends before its time when it is `enough`."""
    with serving() as service:
        world = World(home, service)
        try:
            world.start()
            run = Soak(world, service, rates, minutes, leaks)
            asyncio.run(run.run(every, enough))
        finally:
            world.stop()
    return run.seen


def report(seen: Seen, judged: Sequence[Judged]) -> int:
    """Print what was seen; returns the exit status."""
    width = max((len(one.name) for one in judged), default=10)
    print(f"\n{'series':{width}s} {'level':>12s} {'an hour':>12s} {'95 % interval':>25s} {'bound':>10s}")
    still = [one for one in judged if one.slope.low == one.slope.high == 0]
    for one in (one for one in judged if one not in still):
        found = one.slope
        interval = f"{found.low:+.4g} … {found.high:+.4g}"
        print(
            f"{one.name:{width}s} {found.level:12.6g} {found.per_hour:+12.4g} {interval:>25s} {one.bound:10.4g}"
            f"  {one.verdict} {one.unit if one.verdict is Verdict.GROWS else ''}".rstrip()
        )
    for name, grown in seen.grown.items():
        print(
            f"\n{name}, objects since the warm-up: " + ", ".join(f"{kind} {count:+d}" for kind, count in grown.items())
        )
    print("\ndone: " + ", ".join(f"{count} {what}" for what, count in seen.done.most_common()))
    print(f"events told to webhooks: {seen.events}")
    print("answered with errors, or failed:")
    for what, count in seen.errors.most_common(ERRORS):
        print(f"  {count:6d} × {what}")
    return _status(seen, judged)


def _status(seen: Seen, judged: Sequence[Judged]) -> int:
    grows = [one for one in judged if one.verdict is Verdict.GROWS]
    unclear = [one.name for one in judged if one.verdict is Verdict.UNCLEAR]
    for one in grows:
        print(f"GROWS: {one.name} by {one.slope.per_hour:.4g} {one.unit}/h".replace(" /h", "/h"))
    if seen.died:
        print(f"DIED: {seen.died}")
    for line in seen.faults[:ERRORS]:
        print(f"LOGGED: {line[:MAX_CHARACTERS]}")
    if grows or seen.died or seen.faults:
        return 1
    if unclear or seen.slow or not judged:
        print(f"NOT MEASURED: {'; '.join([*(f'{name} is unclear' for name in unclear), *seen.slow])}")
        return 2
    print(f"flat: all {len(judged)} series")
    return 0


def save(path: Path, seen: Seen, judged: Sequence[Judged], rates: Rates) -> None:
    """All samples, and what was made of them."""
    verdicts = [
        {
            "series": one.name,
            "level": one.slope.level,
            "per_hour": one.slope.per_hour,
            "interval": [one.slope.low, one.slope.high],
            "bound": one.bound,
            "verdict": one.verdict,
        }
        for one in judged
    ]
    names = list(dict.fromkeys(name for sample in seen.samples for name in sample))
    series = {name: [round(sample.get(name, 0.0), 3) for sample in seen.samples] for name in names}
    told: dict[str, Any] = {"rates": rates.__dict__, "verdicts": verdicts, "done": seen.done, "errors": seen.errors}
    told |= {"grown": seen.grown, "times": [round(moment, 1) for moment in seen.times], "series": series}
    path.write_text(json.dumps(told))


def main() -> int:
    """Read the options, run and judge."""
    parser = argparse.ArgumentParser(description="does anything grow under a steady churn?")
    parser.add_argument("--minutes", type=float, default=30.0)
    for one in fields(Rates):
        parser.add_argument(f"--{one.name}", type=type(one.default), default=one.default)
    parser.add_argument("--every", type=float, default=EVERY, help="seconds between samples")
    parser.add_argument("--output", type=Path, default=ROOT / "var" / "soak", help="a folder")
    wanted = parser.parse_args()
    rates = Rates(**{one.name: getattr(wanted, one.name) for one in fields(Rates)})
    wanted.output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="flotilla-soak-") as home:
        try:
            seen = soak(Path(home), rates, wanted.minutes, every=wanted.every)
        finally:
            for log in Path(home).glob("serve.log"):
                shutil.copy(log, wanted.output)
    try:
        judged = judge(seen.times, seen.samples)
    except ValueError as error:
        print(error)
        judged = []
    status = report(seen, judged)
    save(wanted.output / "samples.json", seen, judged, rates)
    if why := chart.missing():
        print(f"no picture: {why}")
    elif judged:
        chart.draw(seen.times, seen.samples, wanted.output / "soak.svg")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes; {wanted.output}")
    return status


if __name__ == "__main__":
    sys.exit(main())
