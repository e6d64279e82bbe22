"""docs/QUICKSTART.md in an empty folder, from `pip install` of the wheel to a message in two windows of a browser.

Run by `make test-host`. Each step is done as it stands there, but for the wheel's path and a free port.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE
from tests.cluster.support.processes import ROOT, Process, free_port, wait_until
from tests.host.support.installation import new_environment

MOST = 8  # commands and edits
STEP = re.compile(r"^\*\*\d+\.\*\* (.*?)^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"`(mysite/[\w/.]+)`")
WHEEL = re.compile(r"/path/to/[\w./-]+\.whl")


class Beginner:
    """Somebody with an empty folder, a virtual environment, and the page."""

    def __init__(self, folder: Path, python: Path, wheel: Path) -> None:
        text = (ROOT / "docs" / "QUICKSTART.md").read_text()
        self.steps: list[tuple[str, str]] = STEP.findall(text)
        self.server = Process("runserver", folder.parent)
        self.port = free_port()
        self._folder = folder
        self._wheel = wheel
        path = os.pathsep.join((str(python.parent), os.environ["PATH"]))
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        fetching = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        self._environment = kept | fetching | {"PATH": path, "PYTHONUNBUFFERED": "1"}

    def follow(self) -> None:
        """Do every step, and leave the last one running."""
        *steps, (_, last) = self.steps
        for says, code in steps:
            if file := FILE.search(says):
                self._edit(self._folder / file[1], code, add="At the end of" in says)
            else:
                self._run(code)
        words = [*self._words(last), "--noreload", f"127.0.0.1:{self.port}"]
        self.server.spawn(words, self._environment, self._folder)
        wait_until(lambda: not self.server.running or "at http://" in self.server.log.read_text(), "the site is served")
        assert self.server.running, self.server.tail()

    def _edit(self, path: Path, text: str, add: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if add else "w") as file:
            file.write(text)

    def _run(self, line: str) -> None:
        words = self._words(line)
        done = subprocess.run(
            words, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, f"{line} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"

    def _words(self, line: str) -> list[str]:
        name, *rest = shlex.split(WHEEL.sub(str(self._wheel), line))
        found = shutil.which(name, path=self._environment["PATH"])
        assert found is not None, f"no {name} in the environment"
        return [found, *rest]


@pytest.fixture(scope="module")
def beginner(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Beginner]:
    home = tmp_path_factory.mktemp("quickstart")
    (home / "empty").mkdir()
    somebody = Beginner(home / "empty", new_environment(home / "environment"), wheel)
    try:
        somebody.follow()
        yield somebody
    finally:
        somebody.server.stop()


@pytest.fixture
def windows(beginner: Beginner, browser: Browser) -> Iterator[list[Page]]:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    pages = [context.new_page() for _ in range(2)]
    for page in pages:
        page.goto(f"http://127.0.0.1:{beginner.port}/")
        page.wait_for_function("client.state === 'connected' && news.state === 'subscribed'")
    yield pages
    context.close()


def test_from_pip_install_to_a_message_in_two_windows(beginner: Beginner, windows: list[Page]) -> None:
    assert 4 <= len(beginner.steps) <= MOST
    windows[0].fill("[name=text]", "hello")
    windows[0].press("[name=text]", "Enter")
    for page in windows:
        expect(page.locator("#news li")).to_have_text(["hello"], timeout=PATIENCE)
