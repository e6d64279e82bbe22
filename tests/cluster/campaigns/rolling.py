"""A rolling restart that nobody notices, measured: `make rolling`.

1,000 clients in rooms of 20 on two instances behind one address, 200 publications a second, and SIGHUP to the
supervisor. Clients reconnect as the official JavaScript client does (0.5 to 1 s, at random, growing with failures) and
recover. Every publication must reach every member of its room once and in order; nobody may see an error beyond being
told to reconnect; all are back within 10 s; and no instance lets in more than twice its mean within any second.

The mean is what an instance admitted of one drain's clients, by the time from the first to the last of them, a second
at least; the peak is the most within any second of it. The exit status is 1 where anything of that does not hold.
"""

import argparse
import asyncio
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.cluster.support.harness import Served
from tests.cluster.support.moving_members import Member, Report
from tests.cluster.support.processes import eventually
from tests.cluster.support.publisher import Publisher
from tests.cluster.support.subscribers import CONFIG, Faults

MEMBERS = 20  # of a room
AT_ONCE = 40  # clients connecting side by side at the beginning
BACK_WITHIN = 10.0
PEAK_TO_MEAN = 2.0


async def restart(clients: int, rate: float, home: Path, **config: Any) -> Report:
    """Run it; prints progress."""
    served = Served(home, CONFIG | config, fsync="everysec")
    await asyncio.to_thread(served.start)
    tasks: list[asyncio.Task[None]] = []
    try:
        rooms = [f"proof:{number}" for number in range(max(1, clients // MEMBERS))]
        crowd = [Member(served.url, rooms[number % len(rooms)]) for number in range(clients)]
        gate = asyncio.Semaphore(AT_ONCE)

        async def come(member: Member) -> None:
            async with gate:
                tasks.append(asyncio.create_task(member.run()))
                await asyncio.wait_for(member.ready.wait(), 60)

        await asyncio.gather(*(come(member) for member in crowd))
        publisher = Publisher(served.http, rooms, rate)
        publishing = asyncio.create_task(publisher.run())
        print(f"{clients} clients in {len(rooms)} rooms, {rate:g} publications a second", flush=True)
        await eventually(lambda: all(member.top for member in crowd), "everybody was reached", 60)
        began = time.monotonic()
        served.send(signal.SIGHUP)
        log = served.log
        await eventually(lambda: "every instance was replaced" in log.read_text(), "the restart is over", 150)
        print(f"every instance was replaced after {time.monotonic() - began:.1f} s", flush=True)
        await eventually(lambda: all(member._left is None for member in crowd), "everybody is back", 60)
        publisher.enough = True
        await publishing
        total = publisher.published
        await eventually(lambda: all(member.top >= total[member.room] for member in crowd), "everybody has all", 60)
        for line in re.findall(r"(?:told \d+ clients|\d+ other instances)[^\"\n]*", log.read_text()):
            print(f"  log: {line}")
        print("  the instances' own peaks:", {node["name"]: node["admission_peak"] for node in served.nodes()})
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(served.stop)
    report = Report(Faults(), sum(member.unrecovered for member in crowd), publisher.errors, [])
    for member in crowd:
        report.faults.count(member.offsets, total[member.room])
        report.errors += member.errors
        report.moves += member.moves
    print(f"{sum(total.values())} publications, {sum(len(member.offsets) for member in crowd)} deliveries")
    report.show()
    return report


def main() -> None:
    """Read the options, run, judge."""
    parser = argparse.ArgumentParser(description="A rolling restart under load that nobody notices.")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=200.0, help="publications a second")
    parser.add_argument("--admission-rate", type=int, default=0, help="what each instance says it can let in a second")
    wanted = parser.parse_args()
    more = {"admission_rate": wanted.admission_rate} if wanted.admission_rate else {}
    with tempfile.TemporaryDirectory(prefix="flotilla-rolling-") as home:
        report = asyncio.run(restart(wanted.clients, wanted.rate, Path(home), **more))
    sys.exit(not report.nothing_lost or report.longest > BACK_WITHIN or report.steepest > PEAK_TO_MEAN)


if __name__ == "__main__":
    main()
