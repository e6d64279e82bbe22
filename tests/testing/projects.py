"""A project with nothing but Django and Flotilla (the folder `site`), run in processes of its own."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(__file__).parent / "site"
WITHIN = 300  # seconds, on a machine that does a lot besides
PLUGIN = ("-p", "flotilla.testing.pytest_plugin", "-p", "no:randomly", "-p", "no:schemathesis")


@dataclass
class Project:
    """A copy of the project, with tests in its folder `tests`."""

    folder: Path

    def write(self, name: str, text: str) -> None:
        """Add a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python with arguments in the project."""
        known = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        known |= {"PYTHONPATH": f"{self.folder}:{ROOT}", "DJANGO_SETTINGS_MODULE": "site_settings"}
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=known | environment,
            capture_output=True,
            text=True,
            timeout=WITHIN,
        )

    def manage(self, *arguments: str, **environment: str) -> str:
        """What a command of `manage.py` said, which must have gone well."""
        done = self.run("manage.py", *arguments, **environment)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def pytest(self, *arguments: str, **environment: str) -> str:
        """What pytest said, which must have gone well."""
        done = self.run("-m", "pytest", "-q", *PLUGIN, *arguments, **environment)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


def copied(folder: Path) -> Project:
    """The project in a folder of its own."""
    shutil.copytree(SITE, folder / "site")
    return Project(folder / "site")
