"""Two revisions side by side: `make bench-compare BASE=REVISION`, or `python -m tests.bench.compare --base REVISION`.

BASE is checked out beside the working tree. An instance of each runs on a Redis of its own; the same load client gives
the same work to one and the other, in short slices, in turn, so that whatever else the machine does meets both.
Compared is CPU time per operation, which a busy machine changes little, and both alike. Each slice makes a pair; what
is said is the median of the pairs' ratios, and an interval that holds the true one in 95 of 100 cases. A figure fails
when even the lower end of its interval is more than the tolerance above BASE.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import comb
from pathlib import Path
from statistics import median

from tests.bench import native, revision
from tests.bench.commandstats import CommandStats
from tests.bench.jobs.base import Job, Plan, Stage, staged
from tests.bench.jobs.connections import rooms_of_fifty
from tests.bench.jobs.fanout import one_room
from tests.bench.jobs.publishing import PUBLISHERS, WINDOW, publishers
from tests.bench.load import Figures
from tests.bench.report import shown
from tests.bench.servers.base import Shape
from tests.bench.servers.flotilla import Flotilla
from tests.cluster.support.processes import ROOT

STORM = 400  # clients of one storm
AT_ONCE = 40
PUBLICATIONS = 5_000  # of a slice: some 0.4 s of CPU
FANNED_OUT = 2_000
AT_MOST = 120.0  # seconds that a slice may take
ATTEMPTS = 4
LEAST_PAIRS = 6  # for an interval of 95 in 100


class Disturbed(Exception):
    """A slice whose figures say nothing."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One job in slices. `slice` does some work and returns its figures, of which the `gated` may fail."""

    name: str
    shape: Callable[[Plan], Shape]
    slice: Callable[[Stage], Figures]
    figures: dict[str, str]  # figure → heading
    gated: tuple[str, ...]


def publish(stage: Stage) -> Figures:
    """50 clients publish, with history, each into a room of its own."""
    return _flood(stage, PUBLISHERS, WINDOW, PUBLICATIONS)


def fan_out(stage: Stage) -> Figures:
    """500 in one room; from outside, 128 publications under way."""
    return _flood(stage, 500, stage.server.window, FANNED_OUT)


def light(stage: Stage) -> Figures:
    """500 in one room; 50 publications a second from outside, nothing to join."""
    stage.ensure(500)
    return _each(stage, lambda: stage.run(2, rate=50))


def _flood(stage: Stage, clients: int, window: int, publications: int) -> Figures:
    stage.ensure(clients)
    return _each(stage, lambda: stage.run(AT_MOST, window=window, publications=publications))


def _each(stage: Stage, run: Callable[[], Figures]) -> Figures:
    """A run's costs, per delivery and per publication. Raises Disturbed when not everything arrived once."""
    before = CommandStats.of(stage.server.redis.port)
    figures = run()
    stats = CommandStats.of(stage.server.redis.port) - before
    if any(figures[name] for name in ("lost", "gaps", "late", "errors", "dropped")):
        raise Disturbed(f"not everything arrived, once and in order: {figures}")
    count = figures["published"]
    return {
        "us_each": figures["server_cpu"] / figures["received"] * 1e6,
        "redis_us": figures["redis_cpu"] / count * 1e6,
        "script_us": stats.in_scripts / count,
        "per_second": figures["per_second"],
        "operations": count,
        "commands": stats.each(count),
    }


def undisturbed(probe: Probe, stage: Stage) -> Figures:
    """A slice's figures; it is done again, a few times, where the machine stood still for seconds."""
    for _ in range(ATTEMPTS - 1):
        try:
            return probe.slice(stage)
        except Disturbed as error:
            stage.plan.say(f"{probe.name}, once more: {error}")
            stage.connected = 0  # all clients anew
    return probe.slice(stage)


def connect(stage: Stage) -> Figures:
    """400 clients connect and subscribe, 40 at once, in rooms of 50; then all of them go."""
    assert stage.redis is not None
    before = CommandStats.of(stage.server.redis.port)
    cpu, redis_cpu = stage.meter.cpu(), stage.redis.cpu()
    came = stage.load.connect(STORM, AT_ONCE)
    cpu_came, redis_came = stage.meter.cpu(), stage.redis.cpu()
    stats = CommandStats.of(stage.server.redis.port) - before
    stage.load.tell("disconnect")
    stage.meter.wait_quiet()
    return {
        "us_each": (cpu_came - cpu) / STORM * 1e6,
        "leave_us": (stage.meter.cpu() - cpu_came) / STORM * 1e6,
        "redis_us": (redis_came - redis_cpu) / STORM * 1e6,
        "script_us": stats.in_scripts / STORM,
        "per_second": STORM / came["seconds"],
        "operations": STORM,
        "commands": stats.each(STORM),
    }


_REDIS = {"redis_us": "Redis, CPU µs", "script_us": "Redis, µs in scripts"}
PROBES = {
    probe.name: probe
    for probe in (
        Probe(
            "publish",
            publishers,
            publish,
            {"us_each": "CPU µs per publication", **_REDIS, "per_second": "publications/s"},
            ("us_each", "redis_us"),
        ),
        Probe(
            "connect",
            rooms_of_fifty,
            connect,
            {
                "us_each": "CPU µs per connect + subscribe",
                "leave_us": "CPU µs of what follows, to its end",
                **_REDIS,
                "per_second": "connects/s",
            },
            ("us_each", "leave_us", "redis_us"),
        ),
        Probe(
            "fanout",
            one_room,
            fan_out,
            {"us_each": "CPU µs per delivery, backlog joined", "per_second": "deliveries/s"},
            ("us_each",),
        ),
        Probe(
            "light",
            one_room,
            light,
            {"us_each": "CPU µs per delivery, nothing joined", "per_second": "deliveries/s"},
            ("us_each",),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure of both revisions, slice by slice."""

    base: list[float]
    this: list[float]

    @property
    def ratios(self) -> list[float]:
        """This tree's by BASE's, in each pair."""
        return [ours / theirs for ours, theirs in zip(self.this, self.base, strict=True) if theirs]

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true median is in 95 of 100 cases, however the ratios are distributed."""
        ordered = sorted(self.ratios)
        count, outside, out = len(ordered), 0, 0.0
        while outside < (count - 1) // 2 and (out := out + 2 * comb(count, outside) / 2**count) <= 0.05:
            outside += 1
        edge = max(outside - 1, 0)
        return ordered[edge], ordered[count - 1 - edge]

    def worse(self, tolerance: float) -> bool:
        """Whether this tree costs more, beyond noise and the tolerance."""
        return bool(self.ratios) and self.interval[0] > 1 + tolerance


@contextmanager
def both(probe: Probe, plan: Plan, base: Path, this: Path) -> Iterator[tuple[Stage, Stage]]:
    """An instance of each revision, each with its Redis and load client, warm."""
    kinds = [
        type(f"Flotilla_{name}", (Flotilla,), {"name": name, "root": root})
        for name, root in (("base", base), ("this", this))
    ]
    job = Job(probe.name, "", (), probe.shape, probe.slice, "", {})
    with ExitStack() as stages:
        first, second = (stages.enter_context(staged(kind, job, plan)) for kind in kinds)
        for stage in (first, second):
            undisturbed(probe, stage)
        yield first, second


def measured(
    probe: Probe, plan: Plan, base: Path, this: Path, rounds: int, slices: int
) -> tuple[dict[str, Comparison], list[str]]:
    """Each figure of a probe, and what Redis did for each in the last slice: base, this."""
    found: tuple[list[Figures], list[Figures]] = ([], [])
    for _ in range(rounds):
        with both(probe, plan, base, this) as stages:
            for number in range(slices):
                for which in (0, 1) if number % 2 == 0 else (1, 0):
                    found[which].append(undisturbed(probe, stages[which]))
                ours, theirs = found[1][-1]["us_each"], found[0][-1]["us_each"]
                plan.say(f"{probe.name}: base {shown(theirs)}, this {shown(ours)} µs")
    figures = {
        name: Comparison([one[name] for one in found[0]], [one[name] for one in found[1]]) for name in probe.figures
    }
    return figures, [found[which][-1]["commands"] for which in (0, 1)]


def table(probe: Probe, figures: dict[str, Comparison], tolerance: float) -> str:
    """The figures of a probe, as Markdown."""
    lines = [f"| {probe.name} | base | this tree | ratio | 95 % | |", "|---|---:|---:|---:|---:|---|"]
    for name, heading in probe.figures.items():
        one = figures[name]
        low, high = one.interval if one.ratios else (0.0, 0.0)
        verdict = ""
        if name in probe.gated:
            verdict = "WORSE" if one.worse(tolerance) else "better" if high < 1 else "as before"
        ratio = f"{median(one.ratios):.3f}" if one.ratios else "–"
        lines.append(
            f"| {heading} | {shown(median(one.base))} | {shown(median(one.this))} | {ratio} "
            f"| {low:.3f}–{high:.3f} | {verdict} |"
        )
    return "\n".join(lines)


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="Two revisions side by side, by CPU time per operation.")

    def probes(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(PROBES):
            raise argparse.ArgumentTypeError(f"no probe is called {', '.join(unknown)}: there are {', '.join(PROBES)}")
        return names

    parser.add_argument("--base", default="auto", help="a revision; auto: the newest tag before this one, or HEAD^1")
    parser.add_argument("--only", type=probes, default=list(PROBES), help=f"of {', '.join(PROBES)}, with commas")
    parser.add_argument("--quick", action="store_true", help="half a minute a probe: both are started once")
    parser.add_argument("--rounds", type=int, help="how often both are started anew (3; 1 with --quick)")
    parser.add_argument("--slices", type=int, default=10, help="pairs of slices after each start (10)")
    parser.add_argument("--tolerance", type=float, default=0.05, help="a share of BASE's cost that is let pass (0.05)")
    wanted = parser.parse_args()
    wanted.rounds = wanted.rounds or (1 if wanted.quick else 3)
    if wanted.rounds * wanted.slices < LEAST_PAIRS:
        parser.error(f"{LEAST_PAIRS} pairs of slices are the least that says anything")
    return wanted


def main() -> int:
    """Compare; the status is 1 when a figure became worse, 2 when there is nothing to compare with."""
    wanted = options()
    if reason := native.missing():
        print(f"nothing can be compared: {reason}", file=sys.stderr)
        return 2
    try:
        commit = revision.find(wanted.base)
    except revision.RevisionError as error:
        print(f"nothing can be compared: {error}", file=sys.stderr)
        return 2
    plan = Plan(wanted.quick, lambda text: print(f"  {text}", file=sys.stderr, flush=True))
    worse = []
    pairs = f"{wanted.rounds} × {wanted.slices} pairs"
    print(f"base is {commit[:12]} ({wanted.base}), this is the working tree; medians of {pairs}", flush=True)
    with revision.checked_out(commit) as base:
        for probe in (PROBES[name] for name in wanted.only):
            figures, commands = measured(probe, plan, base, ROOT, wanted.rounds, wanted.slices)
            print(f"\n{table(probe, figures, wanted.tolerance)}")
            for name, said in zip(("base", "this"), commands, strict=True):
                print(f"Redis, {name}, each: {said}")
            sys.stdout.flush()
            worse += [
                f"{probe.name}: {probe.figures[name]}" for name in probe.gated if figures[name].worse(wanted.tolerance)
            ]
    if worse:
        print(f"\nworse than {commit[:12]} beyond noise and {wanted.tolerance:.0%}: {'; '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
