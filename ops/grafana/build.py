"""Makes Grafana's dashboards, one JSON file each, of what `panels` says: `python -m flotilla.ops.grafana.build`.

The files are committed, for Grafana reads files; a test sees that they are what this makes. Datasource, namespace and
instance are variables of every dashboard.
"""

import json
from pathlib import Path
from typing import Any

from flotilla.monitoring import grafana
from flotilla.ops.grafana.panels import DASHBOARDS, Dashboard, Panel

FOLDER = Path(grafana.__file__).parent / "dashboards"
SELECTION = '{job="flotilla",namespace=~"$namespace",instance=~"$instance"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
NAMESPACES = 'label_values(up{job="flotilla"}, namespace)'
INSTANCES = 'label_values(up{job="flotilla",namespace=~"$namespace"}, instance)'


def expression(template: str) -> str:
    """A query of `panels` as Grafana has it."""
    return template.replace("{s}", SELECTION + "}").replace("{s,", SELECTION + ",").replace("{r}", "$__rate_interval")


def dashboard(made: Dashboard) -> dict[str, Any]:
    """One dashboard."""
    return {
        "uid": made.uid,
        "title": made.title,
        "description": made.tells,
        "tags": ["flotilla"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "schemaVersion": 42,
        "time": {"from": "now-30m", "to": "now"},
        "links": [_links()],
        "templating": {"list": [_datasource(), _variable("namespace", NAMESPACES), _variable("instance", INSTANCES)]},
        "panels": _placed(made.panels),
    }


def _links() -> dict[str, Any]:
    return {
        "title": "Flotilla",
        "type": "dashboards",
        "tags": ["flotilla"],
        "icon": "external link",
        "tooltip": "",
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    found, x, y, row = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > 24:
            x, y, row = 0, y + row, 0
        found.append(_panel(number, panel) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height}})
        x, row = x + panel.width, max(row, panel.height)
    return found


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    steps = [{"value": None, "color": "green"}, *({"value": value, "color": colour} for value, colour in panel.steps)]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
    }
    if panel.kind == "timeseries":
        defaults |= {"min": 0, "custom": _lines(panel)}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.tells,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": expression(query.expression),
                "legendFormat": query.legend,
                "editorMode": "code",
                "range": panel.kind != "stat",
                "instant": panel.kind == "stat",
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
    }


def _lines(panel: Panel) -> dict[str, Any]:
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if panel.stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "value",
            "wideLayout": True,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
        }
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def files() -> dict[Path, str]:
    """Each file and what belongs in it."""
    return {FOLDER / f"{made.uid}.json": json.dumps(dashboard(made), indent=2) + "\n" for made in DASHBOARDS}


def main() -> None:
    """Write them."""
    for path, text in files().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
