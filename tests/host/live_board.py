"""docs/LIVE.md, "In ten minutes", on the bazaar: each step as it stands there, but for the port.

Run by `make test-host`. Two windows of a browser show a board; orders change by the API, by the ORM and in bulk, one
window is without its network meanwhile, and both show what the database has.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE
from tests.cluster.support.processes import ROOT, Process, Redis, free_port, wait_until
from tests.host.quickstart import STEP
from tests.host.support.bazaar import ANN, CHIEF, PASSWORD, PEOPLE
from tests.host.support.installation import Project
from tests.host.support.visitor import Visitor

STEPS = 7
FILE = re.compile(r"`((?:bazaar|store|templates)/[\w/.]+)`")
SECTION = re.compile(r"^## In ten minutes\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
ROWS = "#board tr"
ROWS_THERE = """
from store.models import Order
for order in Order.objects.filter(product_id=1).order_by("pk"):
    print("row", f"{order.pk}{order.status}")
"""
MORE = """
from accounts.models import User
from store.models import Order
Order.objects.bulk_create(Order(owner=User.objects.get(email="{owner}"), product_id=1) for _ in range(3))
Order.objects.filter(product_id=1, status="placed").update(status="packed", changed_by="a shell")
Order.objects.order_by("pk").first().delete()
"""


class Stranger:
    """Somebody with a copy of the bazaar, and the page."""

    def __init__(self, folder: Path, project: Project, redis: str) -> None:
        shutil.copytree(project.home, folder, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3", "collected"))
        self.project = Project(folder, project.python).under("bazaar.settings.dev", BAZAAR_REDIS=redis)
        self.server = Process("runserver", folder.parent)
        self.port = free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        (section,) = SECTION.findall((ROOT / "docs" / "LIVE.md").read_text())
        self.steps: list[tuple[str, str]] = STEP.findall(section)

    def follow(self) -> None:
        """Do every step, and leave the last one running."""
        *steps, (_, last) = self.steps
        for says, code in steps:
            if file := FILE.search(says):
                self._edit(self.project.home / file[1], says, code)
            else:
                self.project.must(*shlex.split(code))
        self.project.manage("shell", "--verbosity", "0", "-c", PEOPLE)
        words = [*self.project.words(*shlex.split(last)), "--noreload", f"127.0.0.1:{self.port}"]
        self.server.spawn(words, self.project.environment | {"PYTHONUNBUFFERED": "1"}, self.project.home)
        wait_until(lambda: not self.server.running or self.answers(), "the site is served")
        assert self.server.running, self.server.tail()

    def _edit(self, path: Path, says: str, code: str) -> None:
        if "At the end of" in says:
            path.write_text(path.read_text() + code)
        elif "where the model begins" in says:
            (head,) = re.findall(r"^class .*:$", code, re.MULTILINE)
            assert f"\n{head}\n" in path.read_text()
            path.write_text(path.read_text().replace(f"{head}\n", code))
        else:
            path.write_text(code)

    def answers(self) -> bool:
        """Whether it serves."""
        try:
            return Visitor(self.http).get("/health/ready").status == 200
        except OSError:
            return False

    def shown(self) -> list[str]:
        """What the board has to show, by the database."""
        said = self.project.manage("shell", "--verbosity", "0", "-c", ROWS_THERE)
        return [line.removeprefix("row ") for line in said.splitlines() if line.startswith("row ")]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, project: Project, redis: Redis) -> Iterator[Stranger]:
    somebody = Stranger(tmp_path_factory.mktemp("board") / "bazaar", project, redis.url)
    try:
        somebody.follow()
        yield somebody
    finally:
        somebody.server.stop()


@pytest.fixture
def windows(stranger: Stranger, browser: Browser) -> Iterator[list[Page]]:
    contexts = [browser.new_context() for _ in range(2)]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        page.set_default_timeout(PATIENCE)
        page.goto(f"{stranger.http}/login/")
        page.fill("[name=username]", CHIEF)
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.wait_for_url("**/orders/")
        page.goto(f"{stranger.http}/board/1/")
    yield pages
    for context in contexts:
        context.close()


def test_the_steps_lead_to_a_board_that_is_right(stranger: Stranger, windows: list[Page]) -> None:
    assert len(stranger.steps) == STEPS
    token = Visitor(stranger.http).post("/api/token/", {"email": ANN, "password": PASSWORD}).json["access"]
    ann = Visitor(stranger.http, Authorization=f"Bearer {token}")
    orders = [ann.post("/api/orders/", {"product": 1}).json["id"] for _ in range(2)]
    for page in windows:
        expect(page.locator(ROWS)).to_have_count(2)
    assert ann.post(f"/api/orders/{orders[1]}/pay/").status == 200
    for page in windows:
        expect(page.locator(ROWS).last).to_contain_text("paid")
    windows[0].context.set_offline(True)
    stranger.project.manage("shell", "--verbosity", "0", "-c", MORE.format(owner=ANN))
    windows[0].context.set_offline(False)
    rows = stranger.shown()
    assert len(rows) == 4
    for page in windows:
        expect(page.locator(ROWS)).to_have_text([re.compile(f"^{row}") for row in rows])


def test_who_may_not_see_it_is_shown_nothing(stranger: Stranger) -> None:
    ann = Visitor(stranger.http)
    ann.fill("/login/", username=ANN, password=PASSWORD)
    assert ann.get("/flotilla/state/board:1").status == 403
