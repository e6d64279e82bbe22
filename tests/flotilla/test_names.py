"""One name for each package, whatever is imported first, and the public names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("realtime", "presence", "ratelimit", "monitoring", "store", "ops")
FORMER = re.compile(rf"\bfrom\s+(?:{'|'.join(PACKAGES)})(?:\.\w+)*\s+import\b|\bpython -m (?:{'|'.join(PACKAGES)})\.")
WRITTEN = {".py", ".md", ".html", ".toml", ".yml", ".yaml", ".json", ".mjs"}


def python(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a fresh interpreter, in the checkout."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_one_name_and_says_it(package: str) -> None:
    """So that no module is ever loaded twice."""
    assert python(f"import flotilla.{package}").returncode == 0
    refused = python(f"import {package}")
    assert refused.returncode != 0
    assert f"ImportError: import flotilla.{package}, not {package}" in refused.stderr


@pytest.mark.parametrize("other", ["project", "tests", "examples"])
def test_what_is_not_the_platforms_is_not_under_its_name(other: str) -> None:
    assert f"No module named 'flotilla.{other}'" in python(f"import flotilla.{other}").stderr


@pytest.mark.parametrize(
    "imports",
    [
        "from flotilla import presence",
        "import flotilla.presence.keys; from flotilla import presence",
        "from flotilla import presence; import flotilla.presence.keys",
        "import flotilla.presence as presence",
    ],
)
def test_presence_is_the_package_and_the_function(imports: str) -> None:
    """`from flotilla import presence` is the function, in whatever order things are imported."""
    code = f"""{imports}
from types import ModuleType
from flotilla.presence import keys, Presence
assert callable(presence) and presence.keys is keys
import django
django.setup()
import flotilla._public
flotilla._public.presence = lambda channel: "asked " + channel
assert presence("room:1") == "asked room:1"
"""
    done = python(f"import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'\n{code}")
    assert done.returncode == 0, done.stderr


def test_nobody_is_told_the_former_names() -> None:
    """In documents, pages, examples and the code that tests hand to other processes."""
    folders = [ROOT / name for name in (*PACKAGES, "flotilla", "project", "examples", "deploy", "docs", "tests")]
    paths = [*ROOT.glob("*.*"), *(path for folder in folders for path in folder.rglob("*.*"))]
    others = {"node_modules", "host"}  # a foreign project may have a `store` and a `monitoring` of its own
    written = [path for path in paths if path.suffix in WRITTEN and others.isdisjoint(path.relative_to(ROOT).parts)]
    told = {str(path.relative_to(ROOT)) for path in written if FORMER.search(path.read_text())}
    assert told <= {"CHANGELOG.md", "docs/LIVE.md"}  # which begins from a shop with an app `store` (`tests/host`)
