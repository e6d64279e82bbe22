"""A foreign suite run beside the platform, and what came of each of its tests.

The platform is configured as the suite's own docker-compose.yml configures its server. The suite's code is fetched and
run, never kept here; what is fetched stays in the virtual environment, so that a second run needs no network.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.foreign import host

FETCHED = Path(sys.prefix) / "foreign"
FETCH_WITHIN = 900.0  # seconds: what was never compiled before is, on a machine that may be busy
RUN_WITHIN = 400.0
ALLOWED = {
    line
    for line in (Path(__file__).parent / "allowed_failures.txt").read_text().splitlines()
    if line and not line.startswith("#")
}


@dataclass(frozen=True)
class Outcome:
    """One test of a suite: what it printed is kept for those that failed."""

    name: str
    passed: bool
    output: str


def tool(name: str) -> str:
    """The path of a program, from the virtual environment or the PATH; without it the test is skipped."""
    found = shutil.which(name, path=os.pathsep.join((str(Path(sys.prefix) / "bin"), os.environ.get("PATH", ""))))
    if found is None:
        pytest.skip(f"no {name} on the PATH")
    return found


def fetch(*words: str, cwd: Path | None = None) -> str:
    """Run a package client and return what it printed; where it cannot fetch, the test is skipped."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=FETCH_WITHIN)
    if done.returncode:
        pytest.skip(f"`{' '.join(words)}` failed: {done.stderr[-1000:]}")
    return done.stdout


def must(*words: str, cwd: Path | None = None, given: str | None = None) -> str:
    """Run what has no reason to fail, with `given` to read, and return what it printed."""
    done = subprocess.run(words, cwd=cwd, input=given, capture_output=True, text=True, timeout=FETCH_WITHIN)
    assert done.returncode == 0, f"`{' '.join(words)}` ended with {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout


def run(home: Path, config: dict[str, Any], *words: str, cwd: Path, **more: str) -> str:
    """Run a suite beside the platform and return what it printed. It may fail; the platform must not."""
    tool("redis-server")
    log = home / "serve.log"
    output = home / "suite.log"
    with output.open("wb") as to:
        environment = _environment(home, config) | more
        running = subprocess.Popen(host.command_line(log, *words), cwd=cwd, env=environment, stdout=to, stderr=to)
        try:
            running.wait(RUN_WITHIN)
        except subprocess.TimeoutExpired:
            pass  # what it printed tells how far it came
        finally:
            running.terminate()  # ends the platform, too
            running.wait(2 * host.STOP_WITHIN)
    served = log.read_text(errors="replace")
    assert running.returncode != host.NOT_SERVED, f"the platform did not serve:\n{served[-3000:]}"
    faults = [line for line in served.splitlines() if '"level": "ERROR"' in line or "Traceback" in line]
    assert not faults, "\n".join(faults)
    return output.read_text(errors="replace")


def _environment(home: Path, config: dict[str, Any]) -> dict[str, str]:
    path = home / "realtime.json"
    path.write_text(json.dumps(config))
    ours = ("DJANGO", "REALTIME", "REDIS", "FLOTILLA", "INSTANCE", "METRICS", "PORT", "HOST", "DATABASE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {
        "DJANGO_ALLOWED_HOSTS": "localhost",
        "DJANGO_SECRET_KEY": "the secret key of the foreign suites, which is long enough",
        "FLOTILLA_VAR": str(home / "var"),
        "METRICS_PORT": "0",
        "REALTIME_CONFIG": str(path),
        "REALTIME_TOKEN_SECRET": "secret",  # the suites sign with it
    }


def judge(subtests: pytest.Subtests, outcomes: list[Outcome], *, count: int, printed: str) -> None:
    """Each test of the suite is a subtest of ours; other than `count` of them means that the suite did not run."""
    assert len(outcomes) == count, f"{len(outcomes)} tests ran, {count} were expected:\n{printed[-5000:]}"
    for outcome in outcomes:
        with subtests.test(outcome.name):
            assert outcome.passed, outcome.output[-5000:]
