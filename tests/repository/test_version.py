"""One version: that of the distribution, of the running code, and the newest in the changelog."""

import re
import tomllib
from pathlib import Path

from flotilla.realtime.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (newest, *_) = re.findall(r"^## (\d+\.\d+\.\d+) - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert project["version"] == VERSION == newest
