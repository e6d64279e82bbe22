"""Children that die with the process that started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flotilla.realtime.server import parent_death
from flotilla.realtime.server.parent_death import launch
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")

MIDDLE = """
import subprocess, sys
sys.path.insert(0, {root!r})
from flotilla.realtime.server.parent_death import launch
child = subprocess.Popen(launch(9, ["sleep", "60"]))
print(child.pid, flush=True)
child.wait()
"""
ROOT = str(Path(parent_death.__file__).parents[2])


def test_launch_runs_the_program_in_the_process_it_made() -> None:
    program = [sys.executable, "-c", "import os; print(os.getpid())"]
    with subprocess.Popen(launch(signal.SIGTERM, program), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert int(child.stdout.read()) == child.pid


async def test_child_dies_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", MIDDLE.format(root=ROOT)], stdout=subprocess.PIPE) as middle:
        assert middle.stdout is not None
        child = psutil.Process(int(middle.stdout.readline()))
        await until(lambda: child.name() == "sleep", "the program replaced its launcher")
        middle.kill()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child died")


def test_child_of_a_dead_parent_does_not_begin() -> None:
    command = launch(signal.SIGTERM, ["true"])
    command[command.index(str(os.getpid()))] = "1" if os.getppid() != 1 else "999999"
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "gone" in done.stderr
