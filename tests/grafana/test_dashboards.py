"""The dashboards: made by `build`, valid by Grafana's own types, and complete."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from monitoring.grafana import build

HERE = Path(__file__).resolve().parent
TSC = HERE / "node_modules" / ".bin" / "tsc"
PANELS = [(path.stem, panel) for path in build.files() for panel in json.loads(path.read_text())["panels"]]


def compile_dashboard(folder: Path, dashboard: Any) -> str:
    """What the compiler says of a dashboard under Grafana's types; "" when it is well."""
    if shutil.which("node") is None or not TSC.exists():
        pytest.skip("no node on the PATH, or no `npm ci` in tests/grafana")
    source = folder / "dashboard.check.ts"
    source.write_text(
        'import type { OurDashboard } from "./dashboard";\n'
        f"export const made: OurDashboard = {json.dumps(dashboard)};\n"
    )
    for name in ("dashboard.ts", "tsconfig.json"):
        shutil.copy(HERE / name, folder)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(HERE / "node_modules")
    config = json.loads((folder / "tsconfig.json").read_text()) | {"files": [source.name]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    done = subprocess.run([TSC, "-p", folder], capture_output=True, text=True, timeout=100)
    assert bool(done.stdout) is bool(done.returncode), done.stderr
    return done.stdout


@pytest.mark.parametrize("path", build.files(), ids=lambda path: path.stem)
def test_the_committed_file_is_what_the_code_makes(path: Path) -> None:
    """Else run `python -m monitoring.grafana.build`."""
    assert path.read_text() == build.files()[path]


@pytest.mark.parametrize("path", build.files(), ids=lambda path: path.stem)
def test_grafana_would_take_it(tmp_path: Path, path: Path) -> None:
    """By `tsc --strict` against @grafana/schema."""
    assert compile_dashboard(tmp_path, json.loads(path.read_text())) == ""


@pytest.mark.parametrize(
    "harm",
    [
        lambda d: d["panels"][0].update(titel="x"),
        lambda d: d["panels"][0].update(type="graph"),
        lambda d: d["panels"][6]["fieldConfig"]["defaults"]["custom"].update(drawStyle="lines"),
        lambda d: d["panels"][6]["options"]["legend"].update(placement="left"),
        lambda d: d["panels"][0]["targets"][0].pop("expr"),
        lambda d: d["templating"]["list"][1].update(type="querry"),
        lambda d: d.update(graphTooltip=9),
    ],
)
def test_grafana_would_not_take_what_is_wrong(tmp_path: Path, harm: Any) -> None:
    """The check can fail: a wrong name, kind, value, or a query without its expression."""
    dashboard = json.loads((build.FOLDER / "flotilla-overview.json").read_text())
    harm(dashboard)
    assert "error TS" in compile_dashboard(tmp_path, dashboard)


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
