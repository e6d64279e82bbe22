"""The campaign of networks: `make networks`. Faults of the links between hosts, under load, and a verdict.

Each kind of fault on each link for 10 s, then for 60 s. After each the crowd must come to rest within ten seconds:
everybody gets what is published, presence is who is there, every instance is ready. At the end no alert fires. The
verdict is the chaos checker's, from the log alone.

Exit status: 0 no violation, 1 violations, 2 not measured (not every fault of 10 s was made, or namespaces are not
permitted).
"""

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests.chaos.checker import Violation, check
from tests.chaos.crowd import CONFIG, Crowd
from tests.chaos.inspection import Inspection
from tests.chaos.log import Event, FaultBegan, FaultEnded, Health, Log, LogLine, Phase, Settled
from tests.chaos.progress import progress
from tests.chaos.run import RULES, WARM
from tests.networks import report
from tests.networks.alerts import Alerts, watched
from tests.networks.faults import LANE, SECONDS, Fault, all_of, schedule
from tests.networks.hosts import Hosts, missing_programs
from tests.networks.namespaces import refusal
from tests.networks.pages import PATH, Visitor

SETTLED_WITHIN = 20.0  # seconds after a fault
WHOLE_WITHIN = 60.0  # seconds for presence: how long it took is judged apart from whether it is right
# A long fault lasts a minute: what is published meanwhile reaches those behind it after its end.
RULES_HERE = replace(RULES, at_most=max(SECONDS) + 30.0, unready=10.0)


class Campaign:
    """One run. `log` has everything that was seen, `marks` what was measured of each fault."""

    def __init__(
        self,
        home: Path,
        minutes: float,
        seed: int,
        seconds: tuple[float, ...] = SECONDS,
        only: str = "",
        disconnect_after: float = 0.0,
    ) -> None:
        """`disconnect_after`: seconds without Redis after which an instance sends its clients away; 0: never."""
        self.log = Log()
        self.minutes, self.seed, self.seconds, self.only = minutes, seed, seconds, only
        self.hosts = Hosts(home, self.log, CONFIG | {"disconnect_without_redis_after": disconnect_after})
        self.alerts = Alerts(home, self.log, self.hosts.targets()) if watched() and not only else None
        self.stuck: list[Violation] = []
        self.crowd = Crowd(self.hosts)
        self.visitor = Visitor(self.log, self.hosts.entrance(0))
        self.made: Counter[str] = Counter()
        self.marks: list[report.Mark] = []
        self._now = ""
        self._inspection = Inspection(self.hosts)

    async def run(self) -> None:
        """All of it."""
        try:
            await self.hosts.start()
            async with progress(self._line, self.hosts.watch_itself()):
                await self.crowd.come()
                self.crowd.publish()
                self.visitor.start()
                if self.alerts is not None:
                    self.alerts.start()
                await asyncio.sleep(WARM)
                for number in range(len(self.hosts.instances)):
                    self.hosts.measure(number, "before")
                await self._faults()
                if self.alerts is not None:
                    self._now = "until no alert fires"
                    self.stuck = await self.alerts.over()
                await self._rest()
        finally:
            if self.alerts is not None:
                await self.alerts.stop()
            late = await self.hosts.stop()
        self.log += [LogLine(self.log.now, "campaign", text) for text in late]
        self._inspection.read_logs()
        self.log[:] = [event for event in self.log if not _is_of_the_page(event)]

    async def _faults(self) -> None:
        ends = self.log.now + self.minutes * 60
        for fault in schedule(self.seed, self.seconds, self.only, delays=bool(self.hosts.switch.how)):
            if self.log.now + fault.seconds > ends and (self.made or fault.seconds > min(self.seconds)):
                return
            await self._fault(fault)

    async def _fault(self, fault: Fault) -> None:
        self._now = fault.name
        instance = self.hosts.busiest()
        began = self.log.now
        target = f"instance-{instance}"
        self.log.append(FaultBegan(began, fault.name, LANE, True, fault.deafens, target, fault.away))
        self.hosts.disturb_all()
        await asyncio.to_thread(fault.make, self.hosts.switch, instance)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(self.hosts.switch.mend)
        self.hosts.undisturb_all()
        mended = self.log.now
        self.log.append(FaultEnded(mended, fault.name, LANE))
        settled = await self._settle(mended)
        await self._inspection.at_rest("present", self.crowd.members, WHOLE_WITHIN)
        whole = self.log.now - mended
        self.marks.append(report.Mark(fault, target, began, mended, settled, whole, self.hosts.held_up_since(mended)))
        print(
            f"{mended:6.0f} s  {fault.name} ({target}): settled {settled:.1f} s, whole {whole:.1f} s after", flush=True
        )
        self.made[fault.name] += 1
        self._now = ""

    async def _settle(self, mended: float) -> float:
        """Wait until all instances are ready and everybody gets what is published from now on; how long that took."""
        while True:
            ready = await self.hosts.ready()
            missing = self.crowd.missing(mended)
            waited = self.log.now - mended
            if (all(ready) and not missing and self.visitor.answered > mended) or waited > SETTLED_WITHIN:
                break
            await asyncio.sleep(0.1)
        self.log.append(Settled(self.log.now, waited, missing))
        for instance, one in zip(self.hosts.instances, ready, strict=True):
            self.log.append(Health(self.log.now, instance.name, one, waited))
        return waited

    async def _rest(self) -> None:
        """At the end everything is whole: history, presence, memory and files."""
        await self.visitor.stop()
        await self.crowd.fall_silent()
        self.log.append(Phase(self.log.now, "quiet"))
        await asyncio.sleep(1.0)
        await self._inspection.at_rest("present", self.crowd.members)
        await self._inspection.census()
        await self.crowd.leave()
        await self._inspection.at_rest("left", ())
        await asyncio.sleep(WARM)
        for number in range(len(self.hosts.instances)):
            self.hosts.measure(number, "after")
        self.log.append(Phase(self.log.now, "end"))

    def _line(self) -> str:
        here = sum(member.here for member in self.crowd.members)
        return (
            f"{self.log.now:6.0f} s  {self.log.publications:7d} published  {self.log.deliveries:8d} delivered"
            f"  {here:3d} of {len(self.crowd.members)} here  {self.made.total():3d} faults"
            f"  now: {self._now or '-'}"
        )


def _is_of_the_page(event: Event) -> bool:
    """Whether a log says that the visitor's page found no database: Django answers 500 then, and says so."""
    return isinstance(event, LogLine) and f"Internal Server Error: {PATH}" in event.text


def main() -> int:
    """Read the options, run and judge."""
    parser = argparse.ArgumentParser(description="Faults of the network between hosts, under load: is anything lost?")
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=None, help="repeats the faults of an earlier run")
    parser.add_argument("--seconds", default=",".join(f"{one:g}" for one in SECONDS), help="how long faults last")
    parser.add_argument("--only", default="", help="faults whose name has this in it (then nothing counts as measured)")
    parser.add_argument(
        "--disconnect-after",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="an instance without Redis sends its clients away after that long (disconnect_without_redis_after)",
    )
    parser.add_argument("--report", type=Path, default=None, help="a folder for the log of events and of the processes")
    wanted = parser.parse_args()
    if why := missing_programs() or refusal():
        print(f"NOT MEASURED: {why}")
        return 2
    seed = random.SystemRandom().randrange(1_000_000) if wanted.seed is None else wanted.seed
    if wanted.report is not None:
        wanted.report.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f"flotilla-networks-{seed}-", dir=wanted.report))
    seconds = tuple(float(one) for one in wanted.seconds.split(","))
    print(f"seed {seed}, {wanted.minutes:g} minutes of faults; {home}", flush=True)
    campaign = Campaign(home, wanted.minutes, seed, seconds, wanted.only, wanted.disconnect_after)
    return _run(campaign, wanted.report)


def _run(campaign: Campaign, kept: Path | None) -> int:
    home, began = campaign.hosts.home, time.monotonic()
    try:
        asyncio.run(campaign.run())
    except (AssertionError, OSError, subprocess.SubprocessError) as error:  # it never came back
        campaign.log.append(LogLine(campaign.log.now, "campaign", f"broken off: {error!r}"))
    finally:
        campaign.log.sort(key=lambda event: event.at)
        campaign.log.save(home / "events.jsonl")
    violations = [*check(campaign.log, RULES_HERE), *report.not_whole(campaign.marks), *campaign.stuck]
    how = campaign.hosts.switch.how
    skipped = [] if how else [fault.name for fault in all_of(min(SECONDS)) if not fault.kind.silences]
    print(f"\nlate and lost packets by {how}" if how else "\nneither netem nor a TAP device, so these are skipped:")
    print("".join(f"  {name}\n" for name in skipped), end="")
    if campaign.alerts is None:
        print("alerts were not watched: that needs a Prometheus on the PATH, and all faults")
    for name, (first, last) in campaign.alerts.fired.items() if campaign.alerts is not None else ():
        print(f"alert {name} fired, first at {first:.0f} s and last at {last:.0f} s")
    status = report.show(campaign.log, campaign.marks, violations, time.monotonic() - began)
    short = [] if campaign.only else report.not_made(campaign.made, min(campaign.seconds), skipped)
    if not status and short:
        print(f"NOT MEASURED: {'; '.join(short)}")
        status = 2
    print(f"seed {campaign.seed}" + (f", log {home / 'events.jsonl'}" if status == 1 or kept else ""))
    if status != 1 and kept is None:
        shutil.rmtree(home)
    return status


if __name__ == "__main__":
    sys.exit(main())
