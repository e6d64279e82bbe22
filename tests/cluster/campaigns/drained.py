"""How long an instance with many clients takes to end: `make drained`.

5,000 clients in rooms of 20, with presence, on one of two instances; it gets SIGTERM, and its clients reconnect to the
other as the official JavaScript client does. Printed: the time from SIGTERM to the end of the process, how long clients
were away, and what the other let in. The exit status is 1 where the end took longer than 20 s or a client saw an error.
"""

import argparse
import asyncio
import re
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster.campaigns.rolling import AT_ONCE, MEMBERS
from tests.cluster.support.harness import Cluster, running
from tests.cluster.support.moving_members import Member, Report
from tests.cluster.support.processes import eventually
from tests.cluster.support.subscribers import CONFIG, Faults

END_WITHIN = 20.0  # seconds from SIGTERM to the end


async def drained(clients: int, home: Path, admission_rate: int = 0) -> tuple[float, Report]:
    """Run it; gives the seconds from SIGTERM to the end, and what clients saw."""
    config = CONFIG | ({"admission_rate": admission_rate} if admission_rate else {})
    cluster = Cluster(home, config, "flotilla", "flotilla", fsync="everysec")
    with running(cluster):
        old, other = cluster.instances
        crowd = [Member(old.url, f"proof:{number // MEMBERS}") for number in range(clients)]
        tasks: list[asyncio.Task[None]] = []
        gate = asyncio.Semaphore(AT_ONCE)

        async def come(member: Member) -> None:
            async with gate:
                tasks.append(asyncio.create_task(member.run()))
                await asyncio.wait_for(member.ready.wait(), 120)

        await asyncio.gather(*(come(member) for member in crowd))
        for member in crowd:
            member.url = other.url
        print(f"{clients} clients are in", flush=True)
        began = time.monotonic()
        old.send(signal.SIGTERM)
        await eventually(lambda: not old.running, "it has ended", 60)
        took = time.monotonic() - began
        print(f"SIGTERM to the end: {took:.2f} s, exit status {old.exit_code}", flush=True)
        await eventually(lambda: all(member.moves for member in crowd), "everybody is back", 60)
        for line in re.findall(r"(?:told \d+ clients|\d+ other instances|the deadline)[^\"\n]*", old.log.read_text()):
            print(f"  log: {line}")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    report = Report(Faults(), sum(member.unrecovered for member in crowd), [], [])
    for member in crowd:
        report.errors += member.errors
        report.moves += member.moves
    report.show()
    return took, report


def main() -> None:
    """Read the options, run, judge."""
    parser = argparse.ArgumentParser(description="An instance with many clients ends in time.")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--admission-rate", type=int, default=0, help="what each instance says it can let in a second")
    wanted = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="flotilla-drained-") as home:
        took, report = asyncio.run(drained(wanted.clients, Path(home), wanted.admission_rate))
    sys.exit(took > END_WITHIN or not report.nothing_lost)


if __name__ == "__main__":
    main()
