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


def _tests_named_in(document: str) -> list[str]:
    return re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs" / document).read_text())


def test_checks_of_guarantees_are_tests_that_exist() -> None:
    named = _tests_named_in("GUARANTEES.md")
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_guards_of_security_are_tests_that_exist() -> None:
    named = _tests_named_in("SECURITY.md")
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).is_file()] == []
