"""What our documents name is there: files that are linked to, and tests that are said to guard something."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    missing = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert missing == []


def guards_named_in(document: Path) -> list[str]:
    return re.findall(r"`(tests/[\w/]+\.py)`", document.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_that_are_named_are_there(document: Path) -> None:
    assert [path for path in guards_named_in(document) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(("document", "number"), [("GUARANTEES.md", 5), ("SECURITY.md", 20), ("ARCHITECTURE.md", 20)])
def test_what_is_promised_names_its_tests(document: str, number: int) -> None:
    assert len(guards_named_in(ROOT / "docs" / document)) > number
