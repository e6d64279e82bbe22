"""Another revision of this repository, checked out beside the working tree.

`python -m tests.bench.revision` prints the commit that this one is compared with, or why there is none (status 1).
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.support.processes import ROOT

AUTO = "auto"
WHERE = ROOT / "var" / "bench" / "revisions"


class RevisionError(Exception):
    """There is no such revision here; the text says which was asked for."""


def find(name: str) -> str:
    """The commit that a name means; AUTO is the newest tag before this commit, or else the commit before it.

    Raises RevisionError when there is none: a shallow checkout has no earlier revisions.
    """
    if name == AUTO:
        name = _git("describe", "--tags", "--abbrev=0", "HEAD^1") or "HEAD^1"
    commit = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if commit is None:
        raise RevisionError(f"this checkout has no revision {name}")
    return commit


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit; it is removed when the block ends."""
    folder = WHERE / commit[:12]
    _remove(folder)
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(folder), commit], cwd=ROOT, check=True)
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    if folder.exists():
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=True)


def _git(*words: str) -> str | None:
    """What git answers, or None when it cannot."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def main() -> int:
    """Print the commit."""
    try:
        print(find(AUTO))
    except RevisionError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
