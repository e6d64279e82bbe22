"""The HTTP API against its own document: schemathesis makes requests of it, right and wrong, for a real instance."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.support.harness import API_KEY, CONFIG, Cluster, running
from tests.fuzzing import SECONDS, SEED

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "unsupported_method",
)
EXAMPLES = 10  # requests per method and phase
LONG = "FLOTILLA_FUZZ_SECONDS" in os.environ  # go on for so long, with examples of any number (see tests.fuzzing)
WITHIN = 400.0 + SECONDS  # seconds: half a minute on an idle machine


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One instance, for requests of any kind: they disconnect and subscribe whom they like."""
    with running(Cluster(tmp_path_factory.mktemp("document"), CONFIG, "flotilla")) as cluster:
        yield cluster


@pytest.mark.timeout(WITHIN + 60)
@pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed")
def test_no_request_meets_a_fault_or_an_undocumented_answer(alone: Cluster, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "schemathesis.cli", "run", f"{alone[0].http}/api/openapi.json"]
    words += ["--header", f"X-API-Key: {API_KEY}", "--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES)]
    words += ["--phases", "examples,coverage,fuzzing", "--seed", str(SEED), "--no-shrink"]
    words += ["--max-time", str(max(int(SECONDS), 1))] if LONG else []
    words += ["--suppress-health-check", "all", "--warnings", "off", "--request-timeout", "20"]
    env = os.environ | {"NO_COLOR": "1", "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Traceback" not in alone[0].tail()
