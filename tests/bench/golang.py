"""Programs in Go: our peer on the centrifuge library, from its source here, and nats-server, from its module.

Both are built at bench time, in the versions that are pinned; Go's own database of checksums has what they are made of.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.bench.native import BUILT

SOURCES = Path(__file__).resolve().parent / "go"
NATS_SERVER = "github.com/nats-io/nats-server/v2@v2.15.3"
_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")
_WITHIN = 900.0  # seconds to fetch modules and compile them on a busy machine


def compiler() -> str | None:
    """Where `go` is, or None."""
    return shutil.which("go") or next((place for place in _PLACES if Path(place).exists()), None)


def missing() -> str | None:
    """Why nothing can be built here, or None."""
    return None if compiler() else "no go on the PATH"


@cache
def peer() -> Path:
    """The program of go/centrifuge, built when its source is newer than what is there."""
    sources, made = SOURCES / "centrifuge", BUILT / "centrifuge"
    if not made.exists() or made.stat().st_mtime < max(path.stat().st_mtime for path in sources.iterdir()):
        _go(["build", "-o", str(made), "."], sources)
    return made


@cache
def nats_server() -> Path:
    """nats-server, built once in each version."""
    folder = BUILT / f"nats-{NATS_SERVER.rpartition('@')[2]}"
    made = folder / "nats-server"
    if not made.exists():
        _go(["install", NATS_SERVER], SOURCES, {"GOBIN": str(folder)})
    return made


def _go(words: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run go; raises AssertionError with what it said."""
    BUILT.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [compiler() or "go", *words],
        cwd=folder,
        env=os.environ | {"GOFLAGS": "-buildvcs=false"} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=_WITHIN,
    )
    if done.returncode:
        raise AssertionError(f"go {words[0]}: {done.stderr[-2000:]}")
