"""The lock files: requirements*.lock hold each package that requirements*.txt need, with the hashes of all its files.

People edit requirements*.txt, where each line says why it is there; `write` (`make lock`) resolves them with uv for
every platform and Python that Flotilla runs on. `check` (`make check`) asks nobody: a lock is current when its header
has the checksum of what it was made from and it holds every package that is asked for, in that version, with hashes.
No lock names where packages come from: that is pip's setting. Standard library only.
"""

import argparse
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = "3.11"
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)")
ELSEWHERE = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host|\s@\s|https?://|^-[ie]\b", re.MULTILINE)


@dataclass(frozen=True)
class Lock:
    """A lock file, what it is made from, and the lock whose versions it shares, so that both fit one environment."""

    name: str
    source: str
    shared: str | None = None


LOCKS = (
    Lock("requirements.lock", "requirements.txt"),
    Lock("requirements-examples.lock", "requirements-examples.txt", "requirements.lock"),
    Lock("requirements-dev.lock", "requirements-dev.txt", "requirements-examples.lock"),
    Lock("requirements-bench.lock", "requirements-bench.txt", "requirements-dev.lock"),
    Lock("requirements-docs.lock", "requirements-docs.txt", "requirements-dev.lock"),
)


def requirements(path: Path) -> Iterator[str]:
    """What a requirements file and those it includes ask for, without comments."""
    for line in path.read_text().splitlines():
        wanted = line.partition("#")[0].strip()
        if wanted.startswith("-r "):
            yield from requirements(path.parent / wanted.removeprefix("-r ").strip())
        elif wanted:
            yield wanted


def checksum(path: Path) -> str:
    """Of what a file asks for, in any order; the reasons beside it may change."""
    return hashlib.sha256("\n".join(sorted(requirements(path))).encode()).hexdigest()


def header(lock: Lock, root: Path) -> str:
    """The first lines of a lock."""
    made = f"# Made by `make lock` from {lock.source}; not edited by hand."
    return f"{made}\n# source: sha256:{checksum(root / lock.source)}\n"


def write(lock: Lock, root: Path, *options: str) -> None:
    """Resolve a lock anew; what still fits stays, unless `options` of uv say otherwise. Raises CalledProcessError."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--output-file", lock.name]
    command += ["--universal", "--python-version", OLDEST_PYTHON]
    command += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--no-header"]
    command += ["--constraints", lock.shared] if lock.shared else []
    target = root / lock.name
    subprocess.run([*command, *options, lock.source], cwd=root, check=True, stdout=sys.stderr)
    target.write_text(header(lock, root) + target.read_text())


def problems(lock: Lock, root: Path = ROOT) -> list[str]:
    """Why a lock is not current; empty when it is."""
    path = root / lock.name
    if not path.is_file():
        return [f"{lock.name} is missing"]
    text = path.read_text()
    if not text.startswith(header(lock, root)):
        return [f"{lock.name} was made from another {lock.source}"]
    locked = dict(_locked(text))
    return [
        *(f"{lock.name} lacks {name}=={version}" for name, version in _pins(root / lock.source) - locked.keys()),
        *(f"{lock.name} has no hash for {name}=={version}" for (name, version), hashes in locked.items() if not hashes),
        *(f"{lock.name} says where packages come from: {found}" for found in ELSEWHERE.findall(text)),
    ]


def _pins(path: Path) -> set[tuple[str, str]]:
    return {(_canonical(found[1]), found[2]) for line in requirements(path) if (found := PINNED.match(line))}


def _locked(text: str) -> Iterator[tuple[tuple[str, str], int]]:
    """The packages of a lock, each with its number of hashes."""
    for entry in re.split(r"\n(?=\S)", text):
        if found := PINNED.match(entry):
            yield (_canonical(found[1]), found[2]), entry.count("--hash=sha256:")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("check", "write"))
    arguments, options = parser.parse_known_args()
    if arguments.action == "write":
        for lock in LOCKS:
            write(lock, ROOT, *options)
    found = [problem for lock in LOCKS for problem in problems(lock)]
    if found:
        sys.exit("\n".join([*found, "`make lock` makes them anew."]))


if __name__ == "__main__":
    main()
