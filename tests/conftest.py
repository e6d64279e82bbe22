"""What holds for every test: in CI a skipped test is a failure, but for those named in `allowed_skips.txt`.

A machine may lack Node, Chromium or a redis-server; then its tests are skipped by name, which pytest tells at the end.
CI installs them all, so a skip there would hide that something was not tested.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.both_implementations import implementation  # noqa: F401  a fixture

ON_THE_ENGINE = "FLOTILLA_TEST_ENGINE" in os.environ  # where tests that harm a Redis skip themselves
if os.environ.get("FLOTILLA_TEST_ENGINE") == "cluster":
    from tests.store.one_slot import begin, one_slot  # noqa: F401  a fixture

    begin()
ALLOWED = {
    line.strip()
    for line in (Path(__file__).parent / "allowed_skips.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Turn a skip into a failure where it would hide something."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and item.nodeid not in ALLOWED and not ON_THE_ENGINE:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI does not allow: {report.longrepr}"
    return report
