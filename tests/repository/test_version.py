"""One version: that of the package, from which the distribution's is read, and the newest in the changelog."""

import re
import tomllib
from pathlib import Path

import flotilla
from flotilla.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_the_same_everywhere() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert pyproject["project"]["dynamic"] == ["version"]
    written = (ROOT / pyproject["tool"]["hatch"]["version"]["path"]).read_text()
    (newest, *_) = re.findall(r"^## (\d+\.\d+\.\d+) - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert flotilla.__version__ == VERSION == newest
    assert re.findall(r"\d+\.\d+\.\d+", written) == [VERSION]
