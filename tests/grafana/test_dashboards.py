"""The dashboards: made by `build`, valid by Grafana's own types, and complete."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flotilla.ops.grafana import build

HERE = Path(__file__).resolve().parent
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


HARMS: dict[str, Callable[[Any], Any]] = {
    "property": lambda d: d["panels"][0].update(titel="x"),
    "kind": lambda d: d["panels"][0].update(type="graph"),
    "style": lambda d: d["panels"][6]["fieldConfig"]["defaults"]["custom"].update(drawStyle="lines"),
    "legend": lambda d: d["panels"][6]["options"]["legend"].update(placement="left"),
    "query": lambda d: d["panels"][0]["targets"][0].pop("expr"),
    "variable": lambda d: d["templating"]["list"][1].update(type="querry"),
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
        assert 'instance=~"$instance"' in target["expr"] or "ALERTS" in target["expr"]
        assert "{s" not in target["expr"] and "{r}" not in target["expr"]
