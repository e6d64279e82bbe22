"""Documents name modules by the paths they have today, and each bound with a test that keeps it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
MODULE = re.compile(r"`((?:project|realtime|presence|ratelimit|monitoring|store|ops|examples)/[\w/.-]+\.(?:py|lua))`")

OF_THE_SHOP = {"store/live.py", "store/models.py"}  # of the project that guides begin from (`tests/host`)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_that_are_named_are_there(document: Path) -> None:
    assert [
        path for path in MODULE.findall(document.read_text()) if not (ROOT / path).is_file() and path not in OF_THE_SHOP
    ] == []


def test_the_map_for_newcomers_leads_somewhere() -> None:
    """The folders and other files that CONTRIBUTING.md sends a newcomer to."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`([a-z]+/[\w/.-]+)`", text)
    assert len(paths) > 16
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_each_bound_names_a_test_that_keeps_it() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    (table,) = re.findall(r"## What is bounded\n\n((?:\|.*\n)+)", text)
    rows = table.splitlines()[2:]
    assert len(rows) > 50
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py` \|$", row)] == []
