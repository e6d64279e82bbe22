"""A child process that ends with its parent: the kernel sends it a signal when the process that started it is gone.

Run as a script it starts another program that way, without help from that program:

    python parent_death.py SIGNAL PARENT_PID PROGRAM ARGUMENTS…

Standard library only, for it is started on its own. Linux only; elsewhere a child outlives a killed parent.
"""

import ctypes
import os
import signal
import sys

PARENT = "FLOTILLA_PARENT"  # environment variable of a child: the supervisor's process id
REPLACES = "FLOTILLA_REPLACES"  # environment variable of a child: the process id of the one that it is to replace
READY_FD = "FLOTILLA_READY_FD"  # the descriptor on which a child that can take clients says its incarnation

PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(number: int, parent: int) -> None:
    """Have `number` sent to this process when `parent` dies; exit at once when it is dead already.

    It survives exec, and is tied to the thread that started this process: start children from the main thread.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise SystemExit("the process that started this one is gone")


def replaces() -> int | None:
    """The process id of the one that this one is to replace, as its supervisor says."""
    given = os.environ.get(REPLACES, "")
    return int(given) if given.isdigit() else None


def launch(number: int, program: list[str]) -> list[str]:
    """The command that runs `program` as a child of this process and dies with it."""
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), str(int(number)), str(os.getpid()), *program]


if __name__ == "__main__":
    die_with_parent(signal.Signals(int(sys.argv[1])), int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])
