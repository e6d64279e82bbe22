"""What docs/TESTING.md shows works as it stands there."""

import re
from pathlib import Path

import pytest

from tests.cluster.support.documents import snippets
from tests.testing.projects import Project, copied

EXCERPT = "an_excerpt.py"  # of the project that is there


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The project with the tests of the document."""
    made = copied(tmp_path)
    made.write("tests/__init__.py", "")
    for code in snippets("TESTING.md", "python"):
        name, _, _ = code.partition("\n")
        assert re.fullmatch(r"# [\w/]+\.py", name), f"a snippet begins with its file: {code}"
        if name != f"# {EXCERPT}":
            made.write(name.removeprefix("# "), code)
    return made


def test_the_excerpt_is_one_of_the_project(project: Project) -> None:
    (excerpt,) = (code for code in snippets("TESTING.md", "python") if code.startswith(f"# {EXCERPT}"))
    _, _, line = excerpt.strip().partition("\n")
    assert line in (project.folder / "rooms/models.py").read_text()


def test_the_tests_pass_under_djangos_runner(project: Project) -> None:
    (project.folder / "tests/test_with_pytest.py").unlink()
    said = project.manage("test")
    assert re.search(r"Ran 10 tests", said) and "flotilla_realtime" not in said


def test_the_tests_pass_under_djangos_runner_side_by_side(project: Project) -> None:
    (project.folder / "tests/test_with_pytest.py").unlink()
    assert re.search(r"Ran 10 tests", project.manage("test", "--parallel", "2"))


def test_the_tests_pass_under_pytest(project: Project) -> None:
    assert "13 passed" in project.pytest("-n", "0", "tests")


def test_the_tests_pass_under_pytest_side_by_side(project: Project) -> None:
    assert "13 passed" in project.pytest("-n", "2", "tests")
