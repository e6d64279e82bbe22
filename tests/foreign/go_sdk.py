"""The Go SDK's own tests against the platform: those in JSON, those in Protobuf, and those without a server."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.foreign.suite import ALLOWED, FETCH_WITHIN, Outcome, fetch, judge, must, run, tool

MODULE = "github.com/centrifugal/centrifuge-go"
VERSION = "v0.12.1"
HISTORY = {"history_ttl": "300s", "force_recovery": True}
CONFIG = {
    "insecure": True,
    "without_namespace": {"history_size": 100, "allowed_delta_types": ["fossil"], "delta_publish": True, **HISTORY},
    "namespaces": {"smallhistory": {"history_size": 2, **HISTORY}},
}

NO_JSON = "TestPublishProtobuf"  # publishes a word without quotation marks
BYTES: dict[str, Any] = {"insecure": True, "without_namespace": {"publication_data_format": "binary"}}


def compiled(home: Path) -> Path:
    """The suite as a program; nobody may fetch while it runs, for its network has no way out."""
    go, program = tool("go"), home / "suite"
    folder = json.loads(fetch(go, "mod", "download", "-json", f"{MODULE}@{VERSION}"))["Dir"]
    fetch(go, "test", "-c", "-o", str(program), ".", cwd=folder)
    return program


def outcomes(events: str) -> list[Outcome]:
    """What the events of `go tool test2json` tell of each test at the top; one that did not end has failed."""
    printed: dict[str, list[str]] = {}
    passed = set()
    for line in events.splitlines():
        event = json.loads(line)
        name = event.get("Test", "").partition("/")[0]
        if not name:
            continue
        lines = printed.setdefault(name, [])
        if event["Action"] == "output":
            lines.append(event["Output"])
        elif event["Action"] == "pass" and event["Test"] == name:
            passed.add(name)
    return [Outcome(name, name in passed, "".join(lines)) for name, lines in printed.items()]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The suite, compiled once."""
    return str(compiled(tmp_path_factory.mktemp("go")))


def ran(home: Path, config: dict[str, Any], program: str, *options: str) -> tuple[list[Outcome], str]:
    """What came of the tests that the options choose, and what was printed."""
    printed = run(home, config, program, "-test.v=test2json", "-test.timeout=300s", *options, cwd=home)
    return outcomes(must(tool("go"), "tool", "test2json", given=printed)), printed


@pytest.mark.timeout(FETCH_WITHIN + 600)
def test_go_sdk_passes_its_own_suite(program: str, tmp_path: Path, subtests: pytest.Subtests) -> None:
    names = {name for name in must(program, "-test.list", ".").splitlines() if name.startswith("Test")}
    assert names >= ALLOWED, f"allowed_failures.txt names tests that are not there: {ALLOWED - names}"
    left_out = ALLOWED | {NO_JSON}
    found, printed = ran(tmp_path, CONFIG, program, f"-test.skip=^({'|'.join(sorted(left_out))})$")
    judge(subtests, found, count=len(names - left_out), printed=printed)


@pytest.mark.timeout(FETCH_WITHIN + 600)
def test_what_is_no_json_where_bytes_are_published(program: str, tmp_path: Path, subtests: pytest.Subtests) -> None:
    found, printed = ran(tmp_path, BYTES, program, f"-test.run=^{NO_JSON}$")
    judge(subtests, found, count=1, printed=printed)
