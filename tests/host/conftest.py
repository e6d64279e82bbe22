"""The bazaar, installed once for all tests here: before and after Flotilla was added, and running.

What takes long is made once, in the order a team would do it: install the project, run its own tests, add the lines,
install the wheel, migrate, serve.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import browser
from tests.cluster.support.processes import Redis
from tests.host.support import installation
from tests.host.support.bazaar import Bazaar
from tests.host.support.installation import Finished, Project
from tests.host.support.issuer import Issuer
from tests.host.support.postgres import Postgres, programs

__all__ = ["browser"]
FIRST_WITHIN = 900  # seconds
NO_REDIS = "redis://127.0.0.1:1"  # where nobody listens
collect_ignore = ["bazaar", "uses", "wrong"]  # they have tests of their own, which run where they are installed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test has to wait for all that is made once."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(FIRST_WITHIN))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Shows the processes' logs beside a failure."""
    report = yield
    if report.failed and call.when == "call":
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Bazaar):
                report.sections.append(("logs of the bazaar", value.tails()))
    return report


@dataclass(frozen=True)
class Before:
    """The bazaar without Flotilla, and what came of its own tests."""

    project: Project
    tests: Finished
    distributions: frozenset[str]
    top_level: frozenset[str]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("host")


@pytest.fixture(scope="session")
def wheel(home: Path) -> Path:
    """The distribution, built."""
    return installation.build_wheel(home / "dist")


@pytest.fixture(scope="session")
def before(home: Path) -> Before:
    """The bazaar as it was; its tests have run."""
    python = installation.new_environment(home / "environment")
    project = Project(installation.copy_project(home / "bazaar"), python)
    installation.install(python, "-r", str(project.home / "requirements-dev.txt"))
    tests = project.under("bazaar.settings.test", BAZAAR_REDIS=NO_REDIS).run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"
    )
    return Before(project, tests, frozenset(distributions(python)), frozenset(top_level(python)))


@pytest.fixture(scope="session")
def project(before: Before, wheel: Path) -> Project:
    """The bazaar with the added lines, and the wheel in its environment."""
    installation.add_flotilla(before.project.home)
    files = (before.project.home / name for name in ("requirements-dev.txt", "requirements-live.txt"))
    asked = [word for path in files for word in ("-r", str(path))]
    installation.install(before.project.python, *asked, f"django-flotilla @ {wheel.as_uri()}")
    return before.project


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """Somebody else who makes tokens."""
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def redis(home: Path) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on the PATH")
    server = Redis(home, fsync="everysec")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def database(home: Path) -> Iterator[dict[str, str]]:
    """PostgreSQL where it can be had, else SQLite: the variables that say so to the bazaar."""
    folder = programs()
    if folder is None:
        assert os.environ.get("CI") != "true", "PostgreSQL is not installed, which CI has to do"
        yield {}
        return
    server = Postgres(home, folder)
    server.start()
    yield {"BAZAAR_POSTGRES": server.address}
    server.stop()


@pytest.fixture(scope="session")
def bazaar(project: Project, redis: Redis, database: dict[str, str], issuer: Issuer) -> Iterator[Bazaar]:
    """The bazaar as it runs in production, two instances of it, with people and their orders."""
    running = Bazaar(project, redis.url, database, issuer.url)
    running.start()
    yield running
    running.stop()


def distributions(python: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in _site(python).glob("*.dist-info")}


def top_level(python: Path) -> set[str]:
    return {path.name for path in _site(python).iterdir() if path.suffix != ".dist-info"}


def _site(python: Path) -> Path:
    (found,) = (python.parent.parent / "lib").glob("python*/site-packages")
    return found
