"""`make measure-costs`, or `python -m tests.bench.costs.run`: the file of costs that `manage.py plan` reckons with.

Every cost has an experiment of its own, on a fresh instance and Redis; all of them in turn, several rounds, medians.
The raw figures of each round stay in var/bench/costs-raw.json: `--from-raw` makes the file of those again, `--only` and
`--keep` measure some experiments once more and add that. `--check` compares the model with whole runs.
"""

import argparse
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from flotilla.ops.plan.costs import OWN, Source, read
from tests.bench import compression, native
from tests.bench.costs import derive, validation
from tests.bench.costs.experiments import EXPERIMENTS, SHOWN_BY
from tests.bench.costs.scales import Used
from tests.bench.jobs.base import Plan
from tests.bench.load import LoadError
from tests.bench.machine import description, end_in_order
from tests.bench.output import WHERE

RAW = WHERE / "costs-raw.json"
COMMAND = "make measure-costs"
ATTEMPTS = 3


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="What each operation costs an instance and its Redis.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help=f"experiments, with commas: {', '.join(EXPERIMENTS)}")
    parser.add_argument("--quick", action="store_true", help="small and short: shows that it works, measures little")
    parser.add_argument("--raw", type=Path, default=RAW, help="where the figures of each round are kept")
    parser.add_argument("--keep", action="store_true", help="add rounds to those that are kept there")
    parser.add_argument("--from-raw", action="store_true", help="measure nothing: make the file of what is kept there")
    parser.add_argument("--into", type=Path, default=WHERE / "costs.json", help="the file of costs")
    parser.add_argument("--ship", action="store_true", help=f"the same into the package: {OWN.name}")
    parser.add_argument("--check", action="store_true", help="compare the model with runs of three sizes, and no more")
    return parser.parse_args()


def main() -> int:
    """Measure, derive, write."""
    end_in_order()
    wanted = options()
    if reason := native.missing():
        print(f"nothing can be measured: {reason}", file=sys.stderr)
        return 1
    if wanted.check:
        return validation.main(wanted.quick, wanted.rounds, WHERE / "validation.json")
    rounds: list[dict[str, Any]] = json.loads(wanted.raw.read_text()) if wanted.keep or wanted.from_raw else []
    if not wanted.from_raw:
        for number in range(wanted.rounds):
            rounds.append({})
            for found in _round(wanted, number):
                rounds[-1] |= found
                wanted.raw.parent.mkdir(parents=True, exist_ok=True)
                wanted.raw.write_text(json.dumps(rounds, indent=1) + "\n")
    if missing := _missing(rounds):
        print(f"no file of costs yet: measure {missing} too, with --keep")
        return 1
    measured = derive.middle([derive.as_used(one) for one in rounds])
    made = derive.costs(measured, _source(len(rounds)), *compression.of_a_message())
    text = msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"
    for path in [wanted.into, *([OWN] if wanted.ship else [])]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        read(path)
        print(f"written: {path}")
    return 0


def _round(wanted: argparse.Namespace, number: int) -> Iterator[dict[str, Any]]:
    """What each experiment finds, one after the other."""
    began = time.monotonic()
    names = [name for name in EXPERIMENTS if not wanted.only or name in wanted.only.split(",")]
    for name in names if number % 2 == 0 else reversed(names):
        found = {what: asdict(used) for what, used in _done(name, Plan(wanted.quick, print)).items()}
        for what, used in found.items():
            print(f"{time.monotonic() - began:6.0f} s  {what:34} {_shown(used)}", flush=True)
        yield found


def _done(name: str, plan: Plan) -> dict[str, Used]:
    """An experiment; it is done again, a few times, where the machine stood still for seconds."""
    for _ in range(ATTEMPTS - 1):
        try:
            return EXPERIMENTS[name](plan)
        except (AssertionError, LoadError) as error:
            print(f"{name}, once more: {error}", flush=True)
    return EXPERIMENTS[name](plan)


def _missing(rounds: list[dict[str, Any]]) -> str:
    """An experiment that none of the rounds has."""
    there = {name for one in rounds for name in one}
    return next((name for name, what in SHOWN_BY.items() if what not in there), "")


def _shown(used: dict[str, float]) -> str:
    return (
        f"instance {used['instance_cpu']:9.2f} µs {used['instance_bytes']:9,.0f} B   Redis {used['redis_cpu']:8.2f} µs "
        f"{used['redis_bytes']:9,.0f} B   {used['commands']:.2f} commands"
    )


def _source(rounds: int) -> Source:
    machine = description()
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    return Source(
        machine=f"{machine['cpu']}, {machine['system']}, Python {machine['python']}",
        redis=f"Redis {said.split('v=')[1].split()[0]}",
        command=COMMAND,
        day=datetime.datetime.now(datetime.UTC).date().isoformat(),
        rounds=rounds,
    )


if __name__ == "__main__":
    sys.exit(main())
