"""The bench: `make bench`, or `python -m tests.bench.run --only fanout --servers flotilla,cfloor --quick`.

Each job runs on each server in turn, several rounds, every other round in the opposite order; medians are shown.
Writes var/bench/results.json, table.md and chart.svg. docs/BENCHMARKS.md explains the method.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.bench import native, output, report
from tests.bench.catalogue import JOBS, SERVERS, wanted_jobs, wanted_servers
from tests.bench.jobs.base import Job, Plan, staged
from tests.bench.load import Figures
from tests.bench.machine import Others, end_in_order
from tests.bench.servers.base import Server


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="Flotilla beside others: same job, same client, same machine.")

    def names(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    parser.add_argument("--only", type=names, default=[], help="jobs, by name or its beginning, with commas")
    parser.add_argument("--servers", type=names, default=[], help="servers, with commas")
    parser.add_argument("--rounds", type=int, default=0, help="how often everything is measured (3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="small and short: shows that it works, measures little")
    parser.add_argument("--write-docs", action="store_true", help="put table and chart into docs/")
    parser.add_argument("--merge", action="store_true", help="keep what the last results have of other jobs")
    parser.add_argument("--into", type=Path, default=output.WHERE, help="the directory of the results (var/bench)")
    parser.add_argument("--list", action="store_true", help="list jobs and servers")
    wanted = parser.parse_args()
    if wanted.quick and (wanted.write_docs or wanted.merge):
        parser.error("figures of a --quick run are not to be kept")
    return wanted


class Bench:
    """One run of the bench: measures, says what it does, and keeps every figure by job, server and round."""

    def __init__(self, wanted: argparse.Namespace) -> None:
        self.began = time.monotonic()
        self.wanted = wanted
        self.rounds = wanted.rounds or (1 if wanted.quick else 3)
        self.results = report.Results(quick=wanted.quick, rounds=self.rounds)
        if wanted.merge and (earlier := output.earlier(wanted.into)) is not None and not earlier.quick:
            again = {job.name for job in wanted_jobs(wanted.only)}
            self.results.cores = earlier.cores
            self.results.figures = {name: found for name, found in earlier.figures.items() if name not in again}
        self._where = ""

    def say(self, text: str) -> None:
        """Show a line of progress."""
        print(f"{time.monotonic() - self.began:7.1f} s  {self._where:34}  {text}", flush=True)

    def run(self) -> report.Results:
        """Every job that is wanted."""
        for job in wanted_jobs(self.wanted.only):
            able = [kind for kind in wanted_servers(job, self.wanted.servers) if self._can_run(kind)]
            for number in range(self.rounds):
                for kind in able if number % 2 == 0 else reversed(able):
                    self._where = f"{job.name} {number + 1}/{self.rounds} {kind.name}"
                    self._measure(job, kind)
        return self.results

    def _can_run(self, kind: type[Server]) -> bool:
        if (reason := kind.missing()) is None:
            return True
        if kind.name not in self.results.skipped:
            self._where = kind.name
            self.say(f"skipped: {reason}")
            self.results.skipped[kind.name] = reason
        return False

    def _measure(self, job: Job, kind: type[Server]) -> None:
        try:
            with staged(kind, job, Plan(self.wanted.quick, self.say)) as stage:
                self.results.cores[job.name] = str(stage.server.cores)
                others = Others(stage.everything())
                figures: Figures = job.measure(stage) | {"others": others.cores()}
        except Exception as error:  # one that fails must not end hours of measuring; it is named in the report
            self.say("\n".join((f"FAILED: {error}", *getattr(error, "__notes__", ()))))
            self.results.failures.append(f"{job.name}, {kind.name}: {error}".splitlines()[0])
            return
        self.results.add(job.name, kind.name, figures)
        self.say(", ".join(f"{title} {report.shown(figures.get(key))}" for key, title in job.columns.items()))


def main() -> int:
    """Run what is asked for; the status is 1 when anything failed."""
    end_in_order()
    wanted = options()
    if wanted.list:
        print("jobs:   ", ", ".join(JOBS), "\nservers:", ", ".join(SERVERS))
        return 0
    if reason := native.missing():
        print(f"the bench cannot run: {reason}", file=sys.stderr)
        return 1
    try:
        wanted_jobs(wanted.only), [wanted_servers(job, wanted.servers) for job in JOBS.values()]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    bench = Bench(wanted)
    results = bench.run()
    output.write(results, JOBS, SERVERS, wanted.into, docs=wanted.write_docs)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
