"""The bazaar in an environment of its own: first as it was, then with the wheel installed and the added lines.

Nothing of the repository is on its path: what it imports of Flotilla is what the wheel brought.
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.cluster.support.processes import ROOT

HOST = Path(__file__).resolve().parents[1]
ADDED_LINES = HOST / "flotilla.diff"
INSTALL_WITHIN = 600.0  # seconds: what was never fetched before is
RUN_WITHIN = 240.0
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")  # of the machine's variables; those of fetching for `uv` alone


@dataclass(frozen=True)
class Finished:
    """A command that ended by itself, and what it said and cost."""

    code: int
    output: str
    seconds: float
    cpu: float  # of these; its children's included


@dataclass(frozen=True)
class Project:
    """A folder with a Django project, its Python, and the environment its commands run in."""

    home: Path
    python: Path
    settings: str = "bazaar.settings.dev"
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        path = os.pathsep.join((str(self.python.parent), kept["PATH"]))
        return kept | {"PATH": path, "DJANGO_SETTINGS_MODULE": self.settings} | self.variables

    def under(self, settings: str, **variables: str) -> "Project":
        """The same with other settings."""
        return replace(self, settings=settings, variables=self.variables | variables)

    def run(self, *words: str, within: float = RUN_WITHIN) -> Finished:
        """Run a command line, in which `python` is the project's, to its end. Raises TimeoutExpired."""
        began, spent = time.monotonic(), _children_s_cpu()
        done = subprocess.run(
            self.words(*words),
            cwd=self.home,
            env=self.environment,
            timeout=within,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Finished(done.returncode, done.stdout, time.monotonic() - began, _children_s_cpu() - spent)

    def must(self, *words: str, within: float = RUN_WITHIN) -> str:
        """Run what has no reason to fail, and return what it printed."""
        done = self.run(*words, within=within)
        assert done.code == 0, f"`{' '.join(words)}` ended with {done.code}:\n{done.output[-5000:]}"
        return done.output

    def manage(self, *words: str, within: float = RUN_WITHIN) -> str:
        """Run a management command that has no reason to fail, and return what it printed."""
        return self.must("python", "manage.py", *words, within=within)

    def words(self, *words: str) -> list[str]:
        """A command line as a process is started with."""
        return [str(self.python), *words[1:]] if words[0] == "python" else list(words)


def _children_s_cpu() -> float:
    """Seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def build_wheel(target: Path) -> Path:
    """The distribution as `make wheel` makes it."""
    as_here = ("--no-build-isolation", "--python", sys.executable)
    _uv("build", "--wheel", "--quiet", *as_here, "--out-dir", str(target), str(ROOT))
    (wheel,) = target.glob("django_flotilla-*.whl")
    return wheel


def new_environment(target: Path) -> Path:
    """An empty environment on this Python; gives its interpreter."""
    _uv("venv", "--quiet", "--seed", "--no-project", "--python", sys.executable, str(target))
    return target / "bin" / "python"


def install(python: Path, *words: str) -> None:
    """`pip install` what is asked for."""
    _uv("pip", "install", "--quiet", "--python", str(python), *words)


def copy_project(target: Path) -> Path:
    """The bazaar as it was before it heard of Flotilla."""
    ignored = shutil.ignore_patterns("__pycache__", "*.sqlite3", "collected", ".*_cache")
    return Path(shutil.copytree(HOST / "bazaar", target, ignore=ignored))


def add_flotilla(home: Path) -> None:
    """Write the added lines into a copy of the bazaar, and put beside it what it does with them."""
    alone = os.environ | {"GIT_CEILING_DIRECTORIES": str(home.parent)}  # not as a part of a checkout around it
    subprocess.run(["git", "apply", str(ADDED_LINES)], cwd=home, env=alone, check=True)
    shutil.copytree(HOST / "uses", home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def _uv(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uv", *words], cwd="/", capture_output=True, text=True, timeout=INSTALL_WITHIN
    )
    assert done.returncode == 0, f"`uv {' '.join(words)}` ended with {done.returncode}:\n{done.stderr[-5000:]}"
