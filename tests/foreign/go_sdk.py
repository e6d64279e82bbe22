"""The Go SDK's own tests against the platform: those that speak JSON, or no server of theirs at all."""

import json
from pathlib import Path

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


@pytest.mark.timeout(FETCH_WITHIN + 600)
def test_go_sdk_passes_its_own_suite(tmp_path: Path, subtests: pytest.Subtests) -> None:
    program = str(compiled(tmp_path))
    names = {name for name in must(program, "-test.list", ".").splitlines() if name.startswith("Test")}
    assert names >= ALLOWED, f"allowed_failures.txt names tests that are not there: {ALLOWED - names}"
    options = ("-test.v=test2json", "-test.timeout=300s", f"-test.skip=^({'|'.join(sorted(ALLOWED))})$")
    printed = run(tmp_path, CONFIG, program, *options, cwd=tmp_path)
    events = must(tool("go"), "tool", "test2json", given=printed)
    judge(subtests, outcomes(events), count=len(names - ALLOWED), printed=printed)
