"""The files for Prometheus and Alertmanager: valid, tested, by cluster; each alert is explained where it links to."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from docs.site.links import headings

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "monitoring"
RULES = {path.name: path.read_text() for path in sorted((FILES / "prometheus" / "rules").glob("*.yml"))}
TESTS = sorted((FILES / "prometheus" / "tests").glob("*.yml"))
ALERTS = [
    rule
    for text in RULES.values()
    for group in yaml.safe_load(text)["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
NAMES = sorted({rule["alert"] for rule in ALERTS})
WITHOUT_CLUSTER = {"()", "(objective)"}  # one value, and an objective: the same for all clusters


def run(tool: str, *words: str) -> str:
    """What a tool of Prometheus's says; its complaint is the failure."""
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} on the PATH")
    done = subprocess.run([tool, *words], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_its_configuration_and_rules() -> None:
    """As promtool sees it."""
    run("promtool", "check", "config", str(FILES / "prometheus" / "prometheus.yml"))


@pytest.mark.timeout(520)
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_not_beside_it(file: Path) -> None:
    """The unit tests of the rules."""
    run("promtool", "test", "rules", str(file))


@pytest.mark.parametrize("alert", NAMES)
def test_each_alert_is_tested(alert: str) -> None:
    """That it fires, and that it does not for the near miss. The watchdog always does."""
    tests = "".join(file.read_text() for file in TESTS)
    fires = re.findall(r'ALERTS\{alertname="(\w+)",alertstate="firing"', tests)
    fires += [name for names in re.findall(r'alertname=~"([\w|]+)"', tests) for name in names.split("|")]
    assert alert in fires, "no test sees it fire"
    assert alert == "watchdog" or re.search(rf"alertname: {alert}, exp_alerts: \[\]", tests), "no test sees it not fire"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_to_do_and_where_that_is_written(rule: dict[str, Any]) -> None:
    """With a severity that a receiver is for, and a link to a section that is there."""
    assert rule["labels"]["severity"] in (("none",) if rule["alert"] == "watchdog" else ("warning", "critical"))
    assert rule["annotations"]["summary"] and rule["annotations"]["action"]
    base = yaml.safe_load((FILES / "prometheus" / "prometheus.yml").read_text())["global"]["external_labels"][
        "runbooks"
    ]
    link = urlsplit(rule["annotations"]["runbook_url"].replace("{{ $externalLabels.runbooks }}", base))
    assert link.scheme == "https" and link.netloc
    assert link.fragment == rule["alert"]
    assert link.fragment in headings((ROOT / link.path.lstrip("/")).read_text())


@pytest.mark.parametrize("name", RULES)
def test_nothing_is_put_together_over_clusters(name: str) -> None:
    """Each aggregation and each match is by cluster; a match by instance is by job too: two may share a host."""
    found = re.findall(r"\b(by|on) (\([^)]*\))", RULES[name])
    assert found
    for kind, labels in found:
        assert "cluster" in labels or (kind == "on" and labels in WITHOUT_CLUSTER), (kind, labels)
        assert kind == "by" or "instance" not in labels or "job" in labels, labels
    bare = re.findall(r"\b(?:sum|max|min|avg|count|group|histogram_quantile|topk)\(", RULES[name])
    assert set(bare) <= {"histogram_quantile("}, "an aggregation without `by`"
    assert "avg_over_time" not in RULES[name].replace("avg_over_time(flotilla:ratelimit_denied:rate1m", "")


def test_each_group_has_a_name_of_its_own() -> None:
    """One manifest holds them all (flotilla.ops.alert_rules)."""
    groups = re.findall(r"^  - name: (\w+)", "".join(RULES.values()), re.MULTILINE)
    assert len(groups) == len(set(groups))
