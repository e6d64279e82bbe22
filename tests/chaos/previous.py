"""An instance of the release before, beside those of this one: another checkout, run with the packages of this one.

During an upgrade both serve the same cluster. So what they share must suit both for one release: keys, scripts and
envelopes in Redis, the commands between instances, the database.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.support.harness import Instance
from tests.cluster.support.processes import ROOT

SETTINGS = {  # where a release has the settings of the tests' instances: the folder to import from, and their module
    "tests/cluster/support/clusterapp/settings.py": (".", "tests.cluster.support.clusterapp.settings"),
    "tests/cluster/clusterapp/settings.py": ("tests/cluster", "clusterapp.settings"),
}


@contextlib.contextmanager
def checkout(revision: str, home: Path) -> Iterator[Path]:
    """The files of a revision in a folder of their own, for the time of a block."""
    tree = home / "previous"
    _git("worktree", "add", "--detach", "--quiet", str(tree), revision)
    try:
        yield tree
    finally:
        _git("worktree", "remove", "--force", str(tree))


def first_of_this_release() -> str:
    """The commit that the current release began with: the one that put its heading into the changelog."""
    heading = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    commits = _git("log", "--format=%H", f"-S{heading.split(' - ')[0]}", "--", "CHANGELOG.md").split()
    return commits[-1]


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


class PreviousInstance(Instance):
    """As an instance, from another checkout."""

    def __init__(self, name: str, home: Path, env: dict[str, str], tree: Path) -> None:
        folder, settings = next(found for path, found in SETTINGS.items() if (tree / path).is_file())
        path = os.pathsep.join((str(tree / folder), str(tree)))
        super().__init__(name, home, env | {"PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": settings})
        self._tree = tree

    def launch(self) -> None:
        """Start it."""
        server, *options = self._command()
        if not (self._tree / "flotilla").is_dir():
            server = server.removeprefix("flotilla.")
        self.spawn([sys.executable, "-m", server, *options], self._env, self._tree)
