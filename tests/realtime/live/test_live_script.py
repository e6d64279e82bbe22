"""`live.js` alone, on Node: thousands of made-up orders in which pages and publications come, and what it keeps."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SCRIPT = HERE.parents[2] / "realtime" / "static" / "realtime" / "live.js"


def node(program: str, *words: object) -> Any:
    """What a program on Node says."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("no node on the PATH")
    done = subprocess.run(
        [path, "--expose-gc", str(HERE / program), str(SCRIPT), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_whatever_comes_first_the_map_is_the_database_and_never_goes_back() -> None:
    said = node("interleavings.mjs", 1, 600, 400)
    assert said["problems"] == []
    few = {name: count for name, count in said["counts"].items() if count < 200}
    assert not few, "what happens too seldom proves nothing"


def test_it_keeps_no_more_than_it_shows() -> None:
    said = node("many_keys.mjs", 200_000)
    assert said["rows"] == 1
    assert said["grown"] < 4_000_000


def test_a_handler_that_throws_stops_nothing() -> None:
    said = node("bad_handlers.mjs")
    assert said["position"] == {"offset": 3, "epoch": "e"}
    assert said["rows"] == [["b", 2], ["c", 3]]
    assert said["seen"] == said["errors"] == ["change", "remove", "set"]


def test_it_is_small() -> None:
    """2.5 KB on the way to a browser, comments included."""
    assert len(gzip.compress(SCRIPT.read_bytes())) < 2500
