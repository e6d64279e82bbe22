"""What the browser tests stand on: a real two-instance cluster as ``manage.py serve --demo`` starts it, and a real
headless Chromium. Each test gets fresh tabs; the cluster is shared, for starting it costs seconds.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 60.0  # seconds
STOPPED_WITHIN = 30.0  # seconds
PATIENCE = 60_000  # ms: a busy machine takes its time to show what is shown at once on an idle one

expect.set_options(timeout=PATIENCE)


def pytest_itemcollected(item: pytest.Item) -> None:
    """A page's whole story takes minutes on a busy machine."""
    if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(300))


CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)


@dataclass(frozen=True)
class Cluster:
    """A running supervisor and its address. ``log`` holds what all its processes said."""

    url: str
    log: Path
    supervisor: "subprocess.Popen[bytes]"

    def instances(self, samples: int = 20) -> set[str]:
        """The names of the instances that answer ready now; each question may reach another of them."""
        names = (self._ready_instance() for _ in range(samples))
        return {name for name in names if name}

    def _ready_instance(self) -> str:
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=2) as response:
                return str(json.load(response)["instance"])
        except (OSError, urllib.error.HTTPError):
            return ""

    def wait_for_both(self) -> None:
        """Until two instances are ready, as after one was stopped and its successor started."""
        deadline = time.monotonic() + READY_WITHIN
        while len(self.instances()) < 2:
            if time.monotonic() > deadline or self.supervisor.poll() is not None:
                said = self.log.read_text(errors="replace")[-4000:]
                raise AssertionError(f"no two instances within {READY_WITHIN} s, or the supervisor ended:\n{said}")
            time.sleep(0.2)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two instances on one free port, with a database, a Redis and a directory of their own."""
    with served(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@contextmanager
def served(home: Path, **settings: str) -> Iterator[Cluster]:
    """A cluster with these environment variables, whose instances are ready."""
    port = _free_port()
    log = home / "serve.log"
    environment = {**os.environ, **_own(home)}
    for inherited in ("REDIS_URL", "DATABASE_URL", "INSTANCE_ID", "DJANGO_SETTINGS_MODULE"):
        environment.pop(inherited, None)
    environment |= settings
    command = [sys.executable, "manage.py", "serve", "--demo", "--instances", "2", "--host", "127.0.0.1", "--port"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, str(port)], cwd=ROOT, env=environment, stdout=output, stderr=output)
    running = Cluster(f"http://127.0.0.1:{port}", log, process)
    try:
        running.wait_for_both()
        yield running
    finally:
        process.terminate()
        try:
            process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _own(home: Path) -> dict[str, str]:
    return {
        "FLOTILLA_VAR": str(home),
        "METRICS_PORT": str(_free_port()),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for one module: while Playwright's own loop runs, coroutine tests of other modules could not."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip(f"no browser on the PATH (one of {', '.join(names)})")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS)
        yield running
        running.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the tabs' consoles complained of: script errors, refused content, missing files."""
    return []


@pytest.fixture
def open_tab(cluster: Cluster, browser: Browser, complaints: list[str]) -> Iterator[Callable[[], Page]]:
    """Opens the demo page in a new tab, connected. Closed after the test."""
    cluster.wait_for_both()
    context = browser.new_context(viewport={"width": 1360, "height": 820})
    context.set_default_timeout(PATIENCE)

    def note(message: ConsoleMessage) -> None:
        # A refused handshake while an instance is away is what the test is about; Chromium reports it as an error.
        if message.type in ("error", "warning") and "WebSocket connection to" not in message.text:
            complaints.append(message.text)

    def tab() -> Page:
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(cluster.url)
        page.wait_for_selector("#state[data-state=connected]")
        page.wait_for_selector("#people .tag")
        return page

    yield tab
    context.close()


@pytest.fixture
def closing() -> Iterator[Callable[[Callable[[], None]], None]]:
    """What is given to it is called after the test."""
    kept: list[Callable[[], None]] = []
    yield kept.append
    for close in reversed(kept):
        close()


@pytest.fixture
def screenshot(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a picture of a tab in ``$SCREENSHOTS``, or in the test's own directory."""
    target = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    target.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.screenshot(path=target / f"{request.node.name}-{name}.png")

    return take
