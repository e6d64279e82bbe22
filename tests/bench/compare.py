"""Two revisions side by side: `make bench-compare BASE=REVISION`, or `python -m tests.bench.compare --base REVISION`.

BASE is checked out beside the working tree. An instance of each runs on a Redis of its own; the same load client gives
the same work to one and the other, in short slices, in turn, so that whatever else the machine does meets both.
Compared is CPU time per operation, which a busy machine changes little, and both alike. Each slice makes a pair; what
is said is the median of the pairs' ratios, and an interval that holds the true one in 95 of 100 cases. A figure fails
when even the lower end of its interval is more than the tolerance above BASE.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tests.bench import native, revision
from tests.bench.comparison import LEAST_PAIRS, Comparison
from tests.bench.jobs.base import Plan, Stage, served, staged_on
from tests.bench.load import Figures
from tests.bench.machine import Cores, end_in_order
from tests.bench.probes import PROBES, Probe
from tests.bench.report import shown
from tests.bench.servers.base import Server, Shape
from tests.bench.servers.flotilla import Flotilla
from tests.cluster.support.processes import ROOT

Pairs = tuple[list[Figures], list[Figures]]  # of base and of this tree; what stands at the same place is a pair


@contextmanager
def instances(roots: Sequence[Path], pure: bool) -> Iterator[list[Server]]:
    """An instance of each revision, with its Redis."""
    with ExitStack() as started:
        yield [
            started.enter_context(served(kind, Shape(), Cores()))
            for kind in (
                type(f"{name.title()}Flotilla", (Flotilla,), {"name": name, "root": root, "pure": pure})
                for name, root in zip(("base", "this"), roots, strict=True)
            )
        ]


def measure(probe: Probe, plan: Plan, servers: Sequence[Server], slices: int, found: Pairs) -> None:
    """Some pairs of slices, after one that does not count; who is first changes from pair to pair."""
    with ExitStack() as clients:
        stages: list[Stage] = []
        for server in servers:
            server.shape = probe.shape(plan)
            stages.append(clients.enter_context(staged_on(server, plan)))
            probe.undisturbed(stages[-1])
        for number in range(slices):
            for which in (0, 1) if number % 2 == 0 else (1, 0):
                found[which].append(probe.undisturbed(stages[which]))
            base, this = (one[-1]["us_each"] for one in found)
            plan.say(f"{probe.name}: base {shown(base)}, this {shown(this)} µs")
        for stage in stages:
            stage.load.tell("disconnect")
            stage.meter.wait_quiet()


def comparisons(probe: Probe, found: Pairs) -> dict[str, Comparison]:
    """Each figure of a probe."""
    return {name: Comparison(*([one[name] for one in side] for side in found)) for name in probe.figures}


def table(probe: Probe, found: Pairs, tolerance: float) -> str:
    """The figures of a probe, as Markdown, and what Redis did for each operation of its last pair."""
    lines = [f"| {probe.name} | base | this tree | ratio | 95 % | |", "|---|---:|---:|---:|---:|---|"]
    for name, one in comparisons(probe, found).items():
        low, high = one.interval
        verdict = one.verdict(tolerance) if name in probe.gated else ""
        values = f"{shown(median(one.base))} | {shown(median(one.this))} | {one.ratio:.3f} | {low:.3f}–{high:.3f}"
        lines.append(f"| {probe.figures[name]} | {values} | {verdict} |")
    said = [f"Redis, {name}, each: {side[-1]['commands']}" for name, side in zip(("base", "this"), found, strict=True)]
    return "\n".join((*lines, "", *said))


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="Two revisions side by side, by CPU time per operation.")

    def probes(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        if unknown := set(names) - set(PROBES):
            raise argparse.ArgumentTypeError(f"no probe is called {', '.join(unknown)}: there are {', '.join(PROBES)}")
        return names

    parser.add_argument("--base", default=revision.AUTO, help="a revision; auto: the newest tag before this, or HEAD^1")
    parser.add_argument("--only", type=probes, default=list(PROBES), help=f"of {', '.join(PROBES)}, with commas")
    parser.add_argument("--quick", action="store_true", help="both are started once, and seven pairs are made")
    parser.add_argument("--rounds", type=int, help="how often both are started anew (3; 1 with --quick)")
    parser.add_argument("--slices", type=int, help="pairs of slices after each start (10; 7 with --quick)")
    parser.add_argument("--tolerance", type=float, default=0.05, help="a share of BASE's cost that is let pass (0.05)")
    parser.add_argument("--pure", action="store_true", help="both without the compiled part")
    wanted = parser.parse_args()
    wanted.rounds = wanted.rounds or (1 if wanted.quick else 3)
    wanted.slices = wanted.slices or (7 if wanted.quick else 10)
    if wanted.rounds * wanted.slices < LEAST_PAIRS:
        parser.error(f"{LEAST_PAIRS} pairs of slices are the least that says anything")
    return wanted


def main() -> int:
    """Compare; the status is 1 when a figure became worse, 2 when there is nothing to compare with."""
    end_in_order()
    wanted = options()
    try:
        commit = revision.find(wanted.base)
        if reason := native.missing() or Flotilla.missing():
            raise revision.RevisionError(reason)
    except revision.RevisionError as error:
        print(f"nothing can be compared: {error}", file=sys.stderr)
        return 2
    plan = Plan(wanted.quick, lambda text: print(f"  {text}", file=sys.stderr, flush=True))
    found: dict[str, Pairs] = {name: ([], []) for name in wanted.only}
    pairs = f"{wanted.rounds} × {wanted.slices} pairs"
    print(f"base is {commit[:12]} ({wanted.base}), this is the working tree; medians of {pairs}", flush=True)
    with revision.checked_out(commit) as base:
        for _ in range(wanted.rounds):
            with instances((base, ROOT), wanted.pure) as servers:
                for name in wanted.only:
                    measure(PROBES[name], plan, servers, wanted.slices, found[name])
    worse = []
    for probe in (PROBES[name] for name in wanted.only):
        print(f"\n{table(probe, found[probe.name], wanted.tolerance)}", flush=True)
        figures = comparisons(probe, found[probe.name])
        worse += [f"{probe.figures[name]}" for name in probe.gated if figures[name].worse(wanted.tolerance)]
    if worse:
        print(f"\nworse than {commit[:12]}, beyond noise and {wanted.tolerance:.0%}: {'; '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
