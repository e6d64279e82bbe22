"""The Python SDK's own tests against the platform, as they are: each runs in JSON and in Protobuf."""

import hashlib
import sys
import tarfile
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cluster.support.processes import ROOT
from tests.foreign.suite import FETCHED, Outcome, fetch, judge, run

PACKAGE = "centrifuge-python"
TESTS = 62
HUNG_AFTER = 30  # seconds: the suite waits without a deadline for what does not come
OWN_RIGHTS = {f"allow_{what}_for_subscriber": True for what in ("publish", "history")}
CONFIG = {
    "user_personal_channel": True,
    "without_namespace": {
        "allowed_delta_types": ["fossil"],
        "delta_publish": True,
        "presence": True,
        "join_leave": True,
        "force_push_join_leave": True,
        "history_size": 100,
        "history_ttl": "300s",
        "force_recovery": True,
        "allow_presence_for_subscriber": True,
        **OWN_RIGHTS,
    },
    "namespaces": {"smallhistory": {"history_size": 2, "history_ttl": "300s", "force_recovery": True, **OWN_RIGHTS}},
}


def source(home: Path) -> Path:
    """A folder with the suite."""
    name = f"{PACKAGE.replace('-', '_')}-{version(PACKAGE)}"
    archive = FETCHED / f"{name}.tar.gz"
    if not archive.exists():
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
        fetch(*pip, "--no-binary", PACKAGE, "--dest", str(FETCHED), f"{PACKAGE}=={version(PACKAGE)}")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert f"--hash=sha256:{digest}" in (ROOT / "requirements-dev.lock").read_text(), "not what was locked"
    with tarfile.open(archive) as opened:
        opened.extractall(home, filter="data")
    return home / name


def outcomes(report: Path) -> list[Outcome]:
    """What a JUnit report tells of each test; the parts of a test count as the test."""
    bad: dict[str, list[str]] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
        faults = [*case.iter("failure"), *case.iter("error"), *case.iter("skipped")]
        bad.setdefault(name, []).extend(fault.text or fault.get("message", "") for fault in faults)
    return [Outcome(name, not texts, "\n".join(texts)) for name, texts in bad.items()]


@pytest.mark.timeout(600)
def test_python_sdk_passes_its_own_suite(tmp_path: Path, subtests: pytest.Subtests) -> None:
    folder, report = source(tmp_path), tmp_path / "report.xml"
    options = ("-c", "/dev/null", "--rootdir", str(folder), "-p", "pytest_timeout", f"--timeout={HUNG_AFTER}")
    only_methods = ("-o", "python_functions=-")  # its helpers are named like tests
    words = ("-m", "pytest", *options, *only_methods, f"--junitxml={report}", "tests/test_client.py")
    printed = run(tmp_path, CONFIG, sys.executable, *words, cwd=folder, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    judge(subtests, outcomes(report) if report.exists() else [], count=TESTS, printed=printed)
