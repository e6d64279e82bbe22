"""Compiles the native programs (the load client, the C floor) when their sources are newer than what is there."""

import shutil
import subprocess
from pathlib import Path

from tests.cluster.support.processes import ROOT

SOURCES = Path(__file__).resolve().parent / "native"
BUILT = ROOT / "var" / "bench" / "build"
PROGRAMS = {
    "load": ("load.c", "connection.c", "dialect.c", "publish.c", "tally.c"),
    "floor": ("floor.c", "sha1.c"),
}


def missing() -> str | None:
    """Why nothing can be compiled here, or None."""
    return None if shutil.which("cc") else "no C compiler (cc) on the PATH"


def program(name: str) -> Path:
    """The path of a program, compiled if need be."""
    sources = [SOURCES / source for source in PROGRAMS[name]]
    made = BUILT / name
    newest = max(path.stat().st_mtime for path in (*sources, *SOURCES.glob("*.h")))
    if not made.exists() or made.stat().st_mtime < newest:
        BUILT.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", made, *sources], check=True)
    return made
