"""The machine under the bench: which core belongs to whom, and what processes used of it.

The server under test has a core to itself where there are two; the load client, Redis and every helper share the rest.
Two processes of it have a core each where there are four; else nobody is pinned.
"""

import contextlib
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED: Linux makes a clock's number of it and a process id (clock_getcpuclockid)


class Cores:
    """Who runs where. `server` and `rest` are lists of core numbers, empty when nobody is pinned."""

    def __init__(self, processes: int = 1) -> None:
        self.all = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        enough = len(self.all) >= 2 * processes and shutil.which("taskset") is not None
        self.server = self.all[:processes] if enough else []
        self.rest = self.all[processes:] if enough else []

    def for_server(self, index: int = 0) -> list[str]:
        """The words before a server's command; each process of it has its own core."""
        return _taskset(self.server[index : index + 1])

    def for_rest(self) -> list[str]:
        """The words before any other command."""
        return _taskset(self.rest)

    def __str__(self) -> str:
        if not self.server:
            return f"{len(self.all)} cores, nobody pinned"
        server, rest = (",".join(map(str, cores)) for cores in (self.server, self.rest))
        return f"server on core {server}, load client and Redis on {rest}"


def _taskset(cores: list[int]) -> list[str]:
    return ["taskset", "-c", ",".join(map(str, cores))] if cores else []


class Meter:
    """CPU time and memory of some processes and their children."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in pids]

    def processes(self) -> list[psutil.Process]:
        """Those given, and their children now."""
        return [one for root in self._roots for one in (root, *root.children(recursive=True))]

    def cpu(self) -> float:
        """Seconds of CPU used so far, user and system."""
        return sum(_cpu(process) for process in self.processes())

    def resident(self) -> int:
        """Bytes of memory held now."""
        held = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                held += process.memory_info().rss
        return held

    def wait_quiet(self, within: float = 30.0) -> None:
        """Wait until the processes use under a twentieth of a core, or the time is over."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            before = self.cpu()
            time.sleep(0.4)
            if self.cpu() - before < 0.02:
                return


def _cpu(process: psutil.Process) -> float:
    """A process's CPU seconds: from its own clock, to the nanosecond, where there is one."""
    try:
        return time.clock_gettime(~process.pid << 3 | _PROCESS_CLOCK)
    except (AttributeError, OSError):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            return float(times.user + times.system)
        return 0.0


class Others:
    """How much of the machine is busy with what is none of ours, from the making of this on."""

    def __init__(self, ours: Meter) -> None:
        self._ours = ours
        self._began = time.monotonic()
        self._used = self._foreign()

    def cores(self) -> float:
        """Cores kept busy by others, on average."""
        return max(0.0, (self._foreign() - self._used) / (time.monotonic() - self._began))

    def _foreign(self) -> float:
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        return float(busy) - self._ours.cpu() - time.process_time()


def end_in_order() -> None:
    """Let SIGTERM end this program as Ctrl-C does: with everything that it began."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def description() -> dict[str, str]:
    """What to say about this machine beside figures."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": f"{len(Cores().all) or os.cpu_count()} × {model}",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }
