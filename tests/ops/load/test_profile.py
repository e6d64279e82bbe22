"""What the clients of a load run count (`ops/load/profile/`), tested by Node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["place", "seat"])
def test_what_a_client_of_the_load_counts(name: str) -> None:
    """Lost, doubled and misordered publications, denials and errors, by Node's test runner."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH")
    done = subprocess.run(
        [node, "--test", str(Path(__file__).parent / f"{name}.test.js")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
