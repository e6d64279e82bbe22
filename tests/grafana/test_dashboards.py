"""The dashboards: made by `build`, valid by Grafana's own types, and complete."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flotilla.ops.grafana import build

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ALERTS = set(re.findall(r"- alert: (\w+)", (ROOT / "monitoring" / "prometheus" / "rules" / "alerts.yml").read_text()))
TSC = HERE / "node_modules" / ".bin" / "tsc"
PANELS = [(path.stem, panel) for path in build.files() for panel in json.loads(path.read_text())["panels"]]


def complaints(folder: Path, dashboards: dict[str, Any]) -> dict[str, str]:
    """What the compiler says of each dashboard under Grafana's types; "" where it is well."""
    if shutil.which("node") is None or not TSC.exists():
        pytest.skip("no node on the PATH, or no `npm ci` in tests/grafana")
    for name, dashboard in dashboards.items():
        (folder / f"{name}.ts").write_text(
            'import type { OurDashboard } from "./dashboard";\n'
            f"export const made: OurDashboard = {json.dumps(dashboard)};\n"
        )
    shutil.copy(HERE / "dashboard.ts", folder)
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    config = json.loads((HERE / "tsconfig.json").read_text()) | {"files": [f"{name}.ts" for name in dashboards]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    done = subprocess.run([TSC, "-p", folder], capture_output=True, text=True, timeout=100)
    assert bool(done.stdout) is bool(done.returncode), done.stderr
    said = done.stdout.splitlines()
    return {name: "\n".join(line for line in said if f"{name}.ts(" in line) for name in dashboards}


@pytest.mark.parametrize("path", build.files(), ids=lambda path: path.stem)
def test_the_committed_file_is_what_the_code_makes(path: Path) -> None:
    """Else run `python -m flotilla.ops.grafana.build`."""
    assert path.read_text() == build.files()[path]


def test_grafana_would_take_them(tmp_path: Path) -> None:
    """By `tsc --strict` against @grafana/schema."""
    found = complaints(tmp_path, {path.stem: json.loads(path.read_text()) for path in build.files()})
    assert found == dict.fromkeys(found, "")


def test_grafana_would_not_take_what_is_wrong(tmp_path: Path) -> None:
    """The check can fail: a wrong name, kind or value, or a query without its expression."""
    text = (build.FOLDER / "flotilla-overview.json").read_text()
    harmed = {name: json.loads(text) for name in HARMS}
    for name, dashboard in harmed.items():
        HARMS[name](dashboard)
    found = complaints(tmp_path, harmed)
    assert [name for name, said in found.items() if "error TS" not in said] == []


def line(dashboard: Any) -> Any:
    """Its first panel with lines."""
    return next(panel for panel in dashboard["panels"] if panel["type"] == "timeseries")


HARMS: dict[str, Callable[[Any], Any]] = {
    "property": lambda d: d["panels"][0].update(titel="x"),
    "kind": lambda d: d["panels"][0].update(type="graph"),
    "style": lambda d: line(d)["fieldConfig"]["defaults"]["custom"].update(drawStyle="lines"),
    "legend": lambda d: line(d)["options"]["legend"].update(placement="left"),
    "query": lambda d: d["panels"][0]["targets"][0].pop("expr"),
    "variable": lambda d: d["templating"]["list"][1].update(type="querry"),
    "event": lambda d: d["annotations"]["list"][0].pop("iconColor"),
    "link": lambda d: d["panels"][0]["links"][0].update(target="_blank"),
    "number": lambda d: d.update(graphTooltip=9),
}


@pytest.mark.parametrize(
    ("dashboard", "panel"), PANELS, ids=lambda value: value if isinstance(value, str) else value["title"]
)
def test_every_panel_explains_itself(dashboard: str, panel: dict[str, Any]) -> None:
    """A description, a unit, a legend, and a selection by the variables."""
    assert len(panel["description"]) > 5
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert target["legendFormat"]
        of_all_instances = "ALERTS" in target["expr"] or "flotilla:" in target["expr"]
        assert 'instance=~"$instance"' in target["expr"] or of_all_instances
        assert 'cluster=~"$cluster"' in target["expr"]
        assert not re.search(r"\{[src][},]", target["expr"])


@pytest.mark.parametrize(
    ("dashboard", "panel"), PANELS, ids=lambda value: value if isinstance(value, str) else value["title"]
)
def test_no_panel_without_data_looks_as_if_all_were_well(dashboard: str, panel: dict[str, Any]) -> None:
    """Nothing is shown as nothing, in words and without a colour; no query makes a zero of it."""
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["noValue"]
    assert defaults["mappings"][0]["options"]["match"] == "null+nan"
    assert defaults["mappings"][0]["options"]["result"]["text"] == defaults["noValue"]
    if panel["type"] == "stat":
        assert colour(panel, None) == "text"
    assert not any("vector(" in target["expr"] for target in panel["targets"])


def colour(panel: dict[str, Any], value: float | None) -> str:
    """The colour of a value, by Grafana's rule: that of the last step which it reaches."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [one for one in steps if one["value"] is None or (value is not None and value >= one["value"])]
    return str(reached[-1]["color"])


@pytest.mark.parametrize("title", ["Ready instances", "Reachable instances"])
def test_ready_is_green_only_when_all_are(title: str) -> None:
    (panel,) = [panel for _, panel in PANELS if panel["title"] == title]
    assert [colour(panel, value) for value in (None, 0, 0.5, 0.99, 1)] == ["text", "red", "red", "red", "green"]


def test_every_alert_has_a_panel_that_leads_to_its_runbook() -> None:
    """And no panel leads elsewhere."""
    linked = {link["url"].removeprefix("${runbooks}#") for _, panel in PANELS for link in panel["links"]}
    assert linked == ALERTS
    assert all(f"\n### {alert}\n" in (ROOT / "docs" / "OPERATIONS.md").read_text() for alert in linked)


def test_every_metric_is_on_a_panel() -> None:
    """Errors, refusals and losses above all: whatever a process tells (docs/METRICS.md is made of that) can be seen."""
    queries = " ".join(target["expr"] for _, panel in PANELS for target in panel["targets"])
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "METRICS.md").read_text(), re.MULTILINE)
    assert len(told) > 60
    assert [name for name in told if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", queries)] == []


@pytest.mark.parametrize("path", build.files(), ids=lambda path: path.stem)
def test_deploys_restarts_and_alerts_are_marked(path: Path) -> None:
    events = json.loads(path.read_text())["annotations"]["list"]
    assert [event["name"] for event in events] == ["Deploys", "Restarts", "Alerts"]
    assert all(event["enable"] and 'cluster=~"$cluster"' in event["expr"] for event in events)
