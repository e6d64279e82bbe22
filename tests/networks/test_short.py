"""The campaign of networks in short: one fault, and nobody misses, repeats or reorders anything."""

import subprocess
import sys

import pytest

from tests.cluster.support.processes import ROOT
from tests.networks.hosts import missing_programs
from tests.networks.namespaces import refusal

FAULT = "instance – redis: half-open, nothing comes back"
BUSY = ("not whole", "not ready", "not back")  # on a busy machine


@pytest.mark.timeout(300)
def test_an_instance_that_hears_nothing_of_redis_costs_no_publication() -> None:
    if why := missing_programs() or refusal():
        pytest.skip(why)
    words = ["--minutes", "0.1", "--seconds", "6", "--seed", "1", "--only", FAULT]
    done = subprocess.run(
        [sys.executable, "-m", "tests.networks.run", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = [line for line in done.stdout.splitlines() if " × " in line and not line.endswith(BUSY)]
    assert not found, done.stdout + done.stderr
    assert "1 faults, " in done.stdout, done.stdout + done.stderr
