"""The hooks before a commit: the checkout's own checks, all of them, and nothing that another machine would fetch."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
HOOKS: list[dict[str, Any]] = [hook for repository in CONFIG["repos"] for hook in repository["hooks"]]
KNOWN = {"id", "name", "entry", "language", "files", "pass_filenames"}


def parts_of_check() -> set[str]:
    """The targets that `make check` consists of."""
    (parts,) = re.findall(r"^check: ([^#\n]+)", MAKEFILE, re.MULTILINE)
    return set(parts.split())


def test_nothing_is_fetched() -> None:
    assert [repository["repo"] for repository in CONFIG["repos"]] == ["local"]
    assert {hook["language"] for hook in HOOKS} == {"system"}


def test_the_hooks_are_the_parts_of_make_check() -> None:
    assert {hook["entry"] for hook in HOOKS} == {f"make {part}" for part in parts_of_check()}
    for part in parts_of_check():
        assert re.search(rf"^{part}: .*\n\t\S", MAKEFILE, re.MULTILINE), f"make {part} does nothing"


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_is_one_that_pre_commit_takes(hook: dict[str, Any]) -> None:
    """Every field is known, and its files are there; a whole is checked, for a file alone says little of types and
    layers."""
    assert hook.keys() == KNOWN
    assert hook["pass_filenames"] is False
    files = (path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*"), *ROOT.glob("store/*")))
    assert any(re.search(hook["files"], path) for path in files)
