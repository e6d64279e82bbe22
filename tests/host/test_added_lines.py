"""What it takes to add Flotilla to a project: the lines in `flotilla.diff`, which the other tests here run with."""

import re
import subprocess

from tests.cluster.support.processes import ROOT
from tests.host.support.installation import ADDED_LINES, HOST

MOST = 10
DOCUMENT = ROOT / "docs" / "ADD_TO_YOUR_PROJECT.md"


def added() -> list[str]:
    """The added lines that say something."""
    return [line[1:] for line in re.findall(r"^\+(?!\+\+ ).*\S.*$", ADDED_LINES.read_text(), re.MULTILINE)]


def test_the_added_lines_are_few_and_each_short_enough_to_be_one() -> None:
    lines = added()
    assert lines[0] != "", "nothing is added"
    assert len(lines) <= MOST, "\n".join(lines)
    assert max(map(len, lines)) <= 120
    assert not any(";" in line for line in lines)


def test_they_fit_the_project_as_it_is() -> None:
    words = ["git", "apply", "--check", f"--directory={(HOST / 'bazaar').relative_to(ROOT)}", str(ADDED_LINES)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_project_has_nothing_of_ours_before() -> None:
    named = [path.name for path in (HOST / "bazaar").rglob("*.py") if "flotilla" in path.read_text()]
    assert named == []


def test_the_document_has_each_of_them_and_counts_them() -> None:
    text = DOCUMENT.read_text()
    assert [line for line in added() if line.strip() not in text] == []
    assert re.findall(r"^\| together \| *\| (\d+) \|$", text, re.MULTILINE) == [str(len(added()))]
