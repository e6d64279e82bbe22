"""docs/QUICKSTART.md, step by step in an empty folder, until a message is in two windows of a real browser.

Its first step, the installation, is that of this environment: `tests/host` installs the wheel. Everything else is done
as it stands there.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE, ROOT
from tests.cluster.support.processes import free_port, wait_until

STEP = re.compile(r"^\*\*(\d+)\.\*\* (.*?)^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"`(mysite/[\w/.]+)`")
STEPS = [(says, code) for _, says, code in STEP.findall((ROOT / "docs" / "QUICKSTART.md").read_text())]
BELONGS_TO_OTHERS = ("REDIS_URL", "DATABASE_URL", "DJANGO_SETTINGS_MODULE", "FLOTILLA_DEMO", "METRICS_PORT")


def environment() -> dict[str, str]:
    """A shell in which nothing was said about Django, Redis or Flotilla."""
    own = {name: value for name, value in os.environ.items() if name not in BELONGS_TO_OTHERS}
    return own | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def command(line: str) -> list[str]:
    """A shell line, with this environment's Python."""
    words = shlex.split(line)
    return [sys.executable, *({"python": [], "django-admin": ["-m", "django"]}[words[0]]), *words[1:]]


def done(folder: Path, says: str, code: str) -> None:
    """One step: a file is written, or added to where the step says so; or a command is run to its end."""
    if file := FILE.search(says):
        path = folder / file[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if "At the end of" in says else "w") as opened:
            opened.write(code)
    else:
        subprocess.run(command(code), cwd=folder, env=environment(), check=True, timeout=120, capture_output=True)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The Quickstart's project, running: its address."""
    (install, _), *steps, (_, last) = STEPS
    assert "Install" in install
    for says, code in steps:
        done(tmp_path, says, code)
    port, log = free_port(), tmp_path / "runserver.log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            [*command(last), "--noreload", str(port)], cwd=tmp_path, env=environment(), stdout=output, stderr=output
        )
    try:

        def listens() -> bool:
            assert running.poll() is None, log.read_text()
            return "Listening on" in log.read_text() or "Starting" in log.read_text()

        wait_until(listens, f"runserver listens: {log.read_text()}")
        yield f"http://127.0.0.1:{port}/"
    finally:
        running.terminate()
        running.wait(60)


@pytest.fixture
def windows(browser: Browser, site: str) -> Iterator[tuple[Page, Page]]:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    one, other = context.new_page(), context.new_page()
    for page in (one, other):
        page.goto(site)
        page.wait_for_function("client.state === 'connected' && news.state === 'subscribed'")
    yield one, other
    context.close()


def test_eight_steps_lead_to_a_message_in_two_windows(windows: tuple[Page, Page]) -> None:
    assert len(STEPS) <= 8
    one, other = windows
    one.fill("[name=text]", "hello")
    one.press("[name=text]", "Enter")
    for page in (one, other):
        expect(page.locator("#news li")).to_have_text(["hello"])


def test_the_steps_are_counted_as_the_page_says() -> None:
    edits = [says for says, _ in STEPS if FILE.search(says)]
    assert (len(STEPS) - len(edits), len(edits)) == (4, 4)
