"""The proof that limits hold under a hard burst: `make burst`.

8 processes ask through 2 and through 3 instances, all on one key, as fast as they are answered: over HTTP and over
WebSocket, for a GCRA and for strict policies, with one instance's clock 5 s wrong. What was admitted is stamped inside
the script by Redis's clock. Printed for each: how much more was admitted than promised in the worst stretch of time
(must be 0), and which share of what is promised was admitted (must be 99 % or more). Exit status 1 otherwise.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flotilla.ops.load.overshoot import overshoot
from flotilla.ratelimit.algorithms.rates import Rate, parse_rate
from tests.cluster.support.harness import Cluster
from tests.cluster.support.processes import ROOT
from tests.cluster.support.raw_client import token

PROCESSES = 8
SECONDS = 10.0
CLOCK_OFFSET = 5.0
MIN_SHARE = 0.99
LONGER = 1.0  # seconds clients go on, so that they ask for all of the time that is judged, which begins a little later
CASES = {
    "http-gcra": ("http", "30/s burst=30"),
    "http-strict": ("http", "45/3s"),
    "ws-gcra": ("ws", "100/s burst=100"),
    "ws-strict": ("ws", "150/3s"),
    "ws-strict-large": ("ws", "300/3s"),
}
_ALLOWED = {"allow_publish_for_client": True}


def config() -> dict[str, Any]:
    """Each case has a path or a namespace of its own, so that each request meets one policy."""
    limits = {
        name: {
            "guards": f"http:/burst/{name}" if kind == "http" else f"ws.publish:{name}",
            "key": "ip" if kind == "http" else "user",
            "rate": rate,
            "failure": "closed",
        }
        for name, (kind, rate) in CASES.items()
    }
    return {
        "namespaces": dict.fromkeys(CASES, _ALLOWED),
        "rate_limits": limits,
        "abuse": None,
        "max_frames_per_second": 10**6,
    }


@dataclass
class Result:
    """What one case came to. `stamps`: µs of Redis's clock, ascending; `seconds`: how long every client asked."""

    name: str
    rate: Rate
    stamps: list[int]
    seconds: float
    answers: Counter[str]

    @property
    def overshoot(self) -> int:
        """By how many the worst stretch exceeds what it may have; 0 when none does."""
        return overshoot(self.rate, self.stamps, self.stamps)

    @property
    def share(self) -> float:
        """Admitted from the first on for the time of the burst, over what is promised for that time."""
        until = self.stamps[0] + self.seconds * 1e6
        admitted = sum(stamp <= until for stamp in self.stamps)
        sustained = self.rate.count / self.rate.period * self.seconds
        return admitted / (sustained if self.rate.strict else self.rate.quota + sustained)

    def __str__(self) -> str:
        asked = sum(count for answer, count in self.answers.items() if answer != "longest_ms")
        return (
            f"{self.name:16s} {self.rate!s:18s} asked {asked:6d}  admitted {len(self.stamps):5d}  "
            f"overshoot {self.overshoot}  share {self.share:7.2%}  answers {dict(sorted(self.answers.items()))}"
        )


class Burst:
    """A cluster whose last instance has a wrong clock; `run` does one case."""

    def __init__(self, home: Path, instances: int, clock_offset: float = CLOCK_OFFSET) -> None:
        self.cluster = Cluster(home, config(), *["flotilla"] * instances, RATE_LIMIT_JOURNAL="burst")
        self.cluster.instances[-1]._env |= {"CLOCK_OFFSET": str(clock_offset)}
        self.redis = self.cluster.redis.client()

    def run(self, name: str, seconds: float = SECONDS, processes: int = PROCESSES) -> Result:
        """Burst, and read what was admitted."""
        kind, rate = CASES[name]
        self._forget()
        commands = [self._command(kind, name, seconds + LONGER, number) for number in range(processes)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        clients = [subprocess.Popen(command, cwd=ROOT, env=self.cluster.env, **pipes) for command in commands]
        answers: Counter[str] = Counter()
        try:
            for client in clients:
                assert client.stdout.readline() == "ready\n"
            for client in clients:
                client.stdin.write("go\n")
                client.stdin.flush()
            outputs = [client.communicate(timeout=seconds + 60)[0] for client in clients]
        finally:
            for client in clients:
                client.kill()
        for output in outputs:
            found = json.loads(output)
            answers["longest_ms"] = max(answers["longest_ms"], found.pop("longest_ms", 0))
            answers.update(found)
        stamps = sorted(int(stamp) for key in self._journals() for stamp in self.redis.lrange(key, 0, -1))
        return Result(name, parse_rate(rate), stamps, seconds, answers)

    def _journals(self) -> list[bytes]:
        return list(self.redis.scan_iter("*:journal:burst"))

    def _forget(self) -> None:
        for key in self._journals():
            self.redis.delete(key)

    def _command(self, kind: str, name: str, seconds: float, number: int) -> list[str]:
        instance = self.cluster[number % len(self.cluster.instances)]
        command = [sys.executable, "-m", "tests.cluster.campaigns.burst_client", kind]
        if kind == "http":
            return [*command, f"{instance.http}/burst/{name}", str(seconds)]
        return [*command, instance.url, str(seconds), f"{name}:room", token("burst")]


def main() -> None:
    """Read the options, burst, judge."""
    parser = argparse.ArgumentParser(description="Limits hold across instances under a hard burst.")
    parser.add_argument("--instances", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    wanted = parser.parse_args()
    failed = False
    for instances in wanted.instances:
        with tempfile.TemporaryDirectory(prefix="flotilla-burst-") as home:
            burst = Burst(Path(home), instances)
            burst.cluster.start()
            try:
                print(
                    f"{instances} instances, {PROCESSES} processes, {wanted.seconds:g} s, one clock 5 s wrong",
                    flush=True,
                )
                for name in wanted.cases:
                    result = burst.run(name, wanted.seconds)
                    print(f"  {result}", flush=True)
                    failed |= result.overshoot > 0 or result.share < MIN_SHARE
            finally:
                burst.cluster.stop()
    sys.exit(failed)


if __name__ == "__main__":
    main()
