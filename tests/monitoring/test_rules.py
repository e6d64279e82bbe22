"""The files for Prometheus and Alertmanager: valid, tested, and each alert explained where its link points."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "monitoring"
RULES = (FILES / "prometheus" / "rules" / "alerts.yml").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES)
TESTS = sorted((FILES / "prometheus" / "tests").glob("*.yml"))


def run(tool: str, *words: str) -> None:
    """Run a tool of Prometheus's; its complaint is the failure."""
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} on the PATH")
    done = subprocess.run([tool, *words], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_configuration_and_rules() -> None:
    """As promtool sees it."""
    run("promtool", "check", "config", str(FILES / "prometheus" / "prometheus.yml"))


def test_alertmanager_takes_its_configuration() -> None:
    """As amtool sees it."""
    run("amtool", "check-config", str(FILES / "alertmanager" / "alertmanager.yml"))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_not_beside_it(file: Path) -> None:
    """The unit tests of the rules."""
    run("promtool", "test", "rules", str(file))


@pytest.mark.parametrize("alert", sorted(set(ALERTS)))
def test_each_alert_is_tested_and_explained(alert: str) -> None:
    """With a severity, a summary, what to do, and a section that is there."""
    tests = "".join(file.read_text() for file in TESTS)
    assert re.search(rf'ALERTS{{alertname="{alert}",alertstate="firing"', tests), "no test sees it fire"
    assert re.search(rf"alertname: {alert}, exp_alerts: \[\]", tests), "no test sees it not fire"
    for rule in re.findall(rf"- alert: {alert}\n.*?(?=\n      - alert|\n  - name|\Z)", RULES, re.DOTALL):
        assert re.search(r"severity: (warning|critical)", rule)
        assert "summary:" in rule and "action:" in rule
        assert f"runbook_url: docs/OPERATIONS.md#{alert}" in rule
    assert f"\n### {alert}\n" in (ROOT / "docs" / "OPERATIONS.md").read_text()
