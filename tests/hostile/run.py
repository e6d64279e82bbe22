"""The campaign: `make hostile`. Every attack in turn on a live instance, while witnesses there and elsewhere look on.

    python -m tests.hostile.run [--only WORDS] [--behind haproxy|both] [--seconds 8] [--json FILE] [--list]

`--only transfers` plays what is large or long and meant well, which is not among the attacks otherwise.

Exit status: 0 nobody noticed anything, 1 somebody did, 2 not measured (the machine was too busy to say).
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.cluster.support.harness import API_KEY
from tests.cluster.support.processes import ROOT
from tests.cluster.support.raw_client import token
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.ground import Ground, can_balance
from tests.hostile.verdict import CONNECTIONS_LEFT, LEFT, Seen, judge, status, table
from tests.hostile.witness import Witnesses

SECONDS = 8.0
BACK_WITHIN = 10.0  # seconds after the attackers' end
CALM = 1.0  # seconds of witnesses alone, before the attack
AFTER = 60.0  # seconds an attacker may take to end
TRANSFERS = "transfers"
WAYS = {"": ("",), "haproxy": ("haproxy",), "both": ("", "haproxy")}
TRIES = 2  # of an attack that was late only: once more, for a busy machine


class Campaign:
    """One run of some attacks."""

    def __init__(self, ground: Ground, seconds: float, size: int = 10**9, events: float = 300.0) -> None:
        self._ground = ground
        self._seconds = seconds
        self._transfer = {"size": size, "events": events}
        self.seen: list[Seen] = []

    async def run(self, attacks: list[Attack]) -> None:
        """Play them."""
        for attack in attacks:
            for _ in range(TRIES):
                seen = await self.play(attack)
                verdict = judge(seen)
                if verdict.faults or seen.died:
                    await asyncio.to_thread(self._ground.renew)
                if verdict.measured and not any("late" in fault for fault in verdict.faults):
                    break
            self.seen.append(seen)
            _tell(seen)

    async def play(self, attack: Attack) -> Seen:
        """One attack, measured."""
        ground = self._ground
        ground.news()
        seen = Seen(attack.name, attack.what, self._seconds, attack.unavailable)
        before, connections, threads = ground.memory(), ground.connections(), ground.threads()
        most = [before, threads]
        pid = ground.attacked.pid
        try:
            async with Witnesses(ground.port, ground.other.port, pid) as witnesses:
                await asyncio.sleep(CALM)
                watching = asyncio.create_task(self._watch(most))
                seen.attackers = await self._attack(attack)
                ended = time.monotonic()
                await asyncio.sleep(CALM)
                watching.cancel()
            seen.publications, seen.pages = witnesses.publications.figures(), witnesses.pages.figures()
            seen.newcomers, seen.witness_faults = witnesses.newcomers.figures(), witnesses.faults
            seen.held_up, seen.withheld = witnesses.clock.shares()
        except (OSError, TimeoutError, ValueError) as error:
            seen.witness_faults = [f"the witnesses could not come: {error!r}"[:200]]
            ended = time.monotonic()
        seen.died = not ground.attacked.running
        if not seen.died:
            await self._until_back(ended, before, connections)
        seen.memory = round(before, 1), round(most[0], 1), round(ground.memory(), 1)
        seen.connections, seen.threads = (connections, ground.connections()), (threads, int(most[1]))
        seen.unhandled = ground.news()
        return seen

    async def _watch(self, most: list[float]) -> None:
        while True:
            most[:] = max(most[0], self._ground.memory()), max(most[1], self._ground.threads())
            await asyncio.sleep(0.05)

    async def _attack(self, attack: Attack) -> dict[str, object]:
        """Let the attackers' process do it, and return what it saw."""
        attacked = self._ground.attacked
        aim = {"port": self._ground.port, "seconds": self._seconds, "tls_port": attacked.tls_port}
        aim |= self._transfer | {"metrics_port": attacked.metrics_port, "key": API_KEY, "token": token("66")}  # type: ignore[attr-defined]
        words = [sys.executable, "-m", "tests.hostile.attacker", attack.name]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdin=pipe, stdout=pipe, env=_environment())
        try:
            async with asyncio.timeout(self._longest(attack)):
                out, _ = await process.communicate(json.dumps(aim).encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            return {"cpu": "it did not end"}
        assert process.returncode == 0, f"the attackers of {attack.name} ended with {process.returncode}"
        found: dict[str, object] = json.loads(out)
        return found

    def _longest(self, attack: Attack) -> float:
        if attack.group != TRANSFERS:
            return self._seconds + AFTER
        return self._transfer["size"] / 1e6 + self._transfer["events"] + AFTER

    async def _until_back(self, ended: float, memory: float, connections: int) -> None:
        """Wait until everything is as before, or the time for that is over."""
        while time.monotonic() - ended < BACK_WITHIN:
            left = self._ground.connections() - connections
            if self._ground.memory() - memory <= LEFT and left <= CONNECTIONS_LEFT:
                return
            await asyncio.sleep(0.1)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def _tell(seen: Seen) -> None:
    """One line of progress."""
    verdict = judge(seen)
    state = "FAULT" if verdict.faults else "ok" if verdict.measured else "not measured"
    print(f"{time.strftime('%H:%M:%S')}  {seen.name:36s} {state}", flush=True)
    for fault in verdict.faults:
        print(f"{'':12s}{fault}", flush=True)


def choose(only: str, balanced: bool) -> list[Attack]:
    """For each word the attack or group of that name, or else those with it in theirs; some are not for a balancer."""
    words = [word.strip() for word in only.split(",") if word.strip()]
    chosen = {attack.name for word in words for attack in _meant(word)}
    if not words:
        chosen = {attack.name for attack in ATTACKS.values() if attack.group != TRANSFERS}
    return [attack for attack in ATTACKS.values() if attack.name in chosen and (attack.http or not balanced)]


def _meant(word: str) -> list[Attack]:
    exactly = [attack for attack in ATTACKS.values() if word in (attack.group, attack.name)]
    return exactly or [attack for attack in ATTACKS.values() if word in attack.name]


async def campaign(
    home: Path, attacks: list[Attack], seconds: float, behind: str = "", *, size: int = 10**9, events: float = 300.0
) -> list[Seen]:
    """Play attacks on ground of their own. `size` and `events`: bytes and seconds of the transfers."""
    ground = Ground(home, behind)
    await asyncio.to_thread(ground.start)
    fought = Campaign(ground, seconds, size, events)
    try:
        await fought.run(attacks)
    finally:
        await asyncio.to_thread(ground.stop)
    return fought.seen


def play(attacks: list[Attack], behind: str, options: argparse.Namespace) -> list[Seen]:
    """Play attacks one way, and show the table."""
    print(f"\nbehind {behind or 'nothing'}:", flush=True)
    with tempfile.TemporaryDirectory(prefix="flotilla-hostile-") as home:
        sizes = {"size": options.size, "events": options.events}
        seen = asyncio.run(campaign(Path(home), attacks, options.seconds, behind, **sizes))
    print(f"\n{table(seen)}\n", flush=True)
    return seen


def write(path: Path, seen: dict[str, list[Seen]]) -> None:
    """Everything that was measured, with the verdicts."""
    path.parent.mkdir(exist_ok=True, mode=0o700)
    told = {way or "nothing": [asdict(one) | asdict(judge(one)) for one in some] for way, some in seen.items()}
    path.write_text(json.dumps(told, indent=1))


def main() -> int:
    """Play what the command line says."""
    parser = argparse.ArgumentParser(description="attacks on a live instance, while witnesses look on")
    parser.add_argument("--only", default="", help="words, separated by commas: attacks whose names have one in them")
    parser.add_argument("--behind", default="", choices=WAYS, help="haproxy: play those over HTTP behind it")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each attack")
    parser.add_argument("--size", type=int, default=10**9, help="bytes of a large transfer")
    parser.add_argument("--events", type=float, default=300.0, help="seconds of a long one")
    parser.add_argument("--json", type=Path, default=ROOT / "var" / "hostile.json", help="where the figures go")
    parser.add_argument("--list", action="store_true", help="name the attacks")
    options = parser.parse_args()
    if options.list:
        for attack in choose(options.only, False):
            print(f"{attack.name:36s} {attack.what}")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end what was started in any case
    if options.behind and not can_balance():
        print("no haproxy on the PATH")
        return 2
    seen = {way: play(choose(options.only, bool(way)), way, options) for way in WAYS[options.behind]}
    write(options.json, seen)
    everything = [one for some in seen.values() for one in some]
    print(f"{len(everything)} attacks, {sum(bool(judge(one).faults) for one in everything)} noticed; {options.json}")
    return status(everything)


if __name__ == "__main__":
    raise SystemExit(main())
