"""The tests are a matter of their own: what is shipped, and what ships it, reads nothing of them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    *("flotilla", "realtime", "presence", "ratelimit", "monitoring", "store", "ops", "project", "examples", "deploy"),
    *("manage.py", "Dockerfile", "docker-compose.yml", "docker-compose.tls.yml", ".dockerignore"),
)
NOT_OURS = {"node_modules", "__pycache__"}
TEXT = {".py", ".lua", ".js", ".html", ".json", ".toml", ".yml", ".yaml", ".cfg", ".conf", ""}
NAMED = re.compile(r"(?<!prometheus/)\btests[/.]\w")  # Prometheus's rules have tests of their own beside them


def files(name: str) -> Iterator[Path]:
    """The text files of a folder, or the file itself."""
    paths = (ROOT / name).rglob("*") if (ROOT / name).is_dir() else iter([ROOT / name])
    for path in paths:
        if path.is_file() and path.suffix in TEXT and not NOT_OURS.intersection(path.parts):
            yield path


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_outside_reads_the_tests(name: str) -> None:
    found = [str(path) for path in files(name) if NAMED.search(path.read_text(errors="replace"))]
    assert found == []
