"""Which process of a machine one is, so that another can tell whether it is still there.

An identity is the machine's boot, its namespace of process ids, the id, and when the process began: ids are used again.
Linux only; elsewhere, and for processes of another namespace (as of another container), nothing is known.
"""

import os
from pathlib import Path

PROC = Path("/proc")


def identity() -> str:
    """This process's; "" where there is none."""
    began = _began(os.getpid())
    return f"{_surroundings()}/{os.getpid()}/{began}" if began else ""


def has_ended(identity: str) -> bool:
    """Whether that process is known to have ended."""
    surroundings, _, rest = identity.partition("/")
    process, _, began = rest.partition("/")
    if not surroundings or surroundings != _surroundings() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # there is one, of which we may know nothing more
    found = _began(int(process))
    return bool(found) and found != began


def _surroundings() -> str:
    """In which the ids of processes mean the same; "" where that is not known."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _began(process: int) -> str:
    """In ticks since the boot; "" where that is not known, "ended" for one that has ended and is not yet waited for."""
    try:
        state, *rest = (PROC / str(process) / "stat").read_text().rpartition(") ")[2].split()
    except (OSError, ValueError):
        return ""
    return "ended" if state in "ZX" else rest[18]
