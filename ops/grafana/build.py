"""Makes Grafana's dashboards, one JSON file each, of what `panels` says: `python -m flotilla.ops.grafana.build`.

The files are committed, for Grafana reads files; a test sees that they are what this makes. Variables of every
dashboard are data source, job, cluster and instance, and the address of docs/OPERATIONS.md for links to its sections.
"""

import json
import re
from pathlib import Path
from typing import Any

from flotilla import monitoring
from flotilla.monitoring import grafana
from flotilla.ops.grafana.panels import DASHBOARDS, EVENTS, Dashboard, Event, Panel

FOLDER = Path(grafana.__file__).parent / "dashboards"
OF_CLUSTER = 'cluster=~"$cluster"'
SELECTION = f'{{job=~"$job",{OF_CLUSTER},instance=~"$instance"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
JOBS = "label_values(flotilla_build_info, job)"
CLUSTERS = 'label_values(up{job=~"$job"}, cluster)'
INSTANCES = f'label_values(up{{job=~"$job",{OF_CLUSTER}}}, instance)'
NO_COLOUR = "text"


def _address_of_runbooks() -> str:
    """Of docs/OPERATIONS.md, as alerts have it: an external label of Prometheus."""
    text = (Path(monitoring.__file__).parent / "prometheus" / "prometheus.yml").read_text()
    found = re.search(r"^ +runbooks: *(\S+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError("prometheus.yml has no external label runbooks")
    return found[1]


def expression(template: str) -> str:
    """A query of `panels` as Grafana has it."""
    selected = template.replace("{s}", SELECTION + "}").replace("{s,", SELECTION + ",").replace("{c}", OF_CLUSTER)
    return selected.replace("{r}", "$__rate_interval")


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
        "annotations": {"list": [_event(event) for event in EVENTS]},
        "templating": {
            "list": [
                _datasource(),
                _variable("job", JOBS),
                _variable("cluster", CLUSTERS) | EVERYTHING,
                _variable("instance", INSTANCES) | EVERYTHING,
                _runbooks(),
            ]
        },
        "panels": _placed(made.panels),
    }


def _links() -> dict[str, Any]:
    return LINK | {"title": "Flotilla", "type": "dashboards", "tags": ["flotilla"], "includeVars": True}


LINK = {
    "type": "link",
    "tags": [],
    "icon": "external link",
    "tooltip": "",
    "asDropdown": False,
    "includeVars": False,
    "keepTime": True,
    "targetBlank": False,
}
EVERYTHING = {"allValue": ".*"}  # also series that have no such label


def _runbook(alert: str) -> dict[str, Any]:
    about = {"title": f"Runbook: {alert}", "url": f"${{runbooks}}#{alert}", "targetBlank": True, "keepTime": False}
    return LINK | {"icon": "doc"} | about


def _event(event: Event) -> dict[str, Any]:
    return {
        "name": event.name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": event.colour,
        "expr": expression(event.expression),
        "step": "15s",
        "titleFormat": event.title,
        "textFormat": event.text,
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def _runbooks() -> dict[str, Any]:
    address = _address_of_runbooks()
    return {
        "name": "runbooks",
        "label": "Runbooks",
        "type": "textbox",
        "query": address,
        "current": {"selected": True, "text": address, "value": address},
    }


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
    base = NO_COLOUR if panel.kind == "stat" else "green"  # what has no value has the colour of the base
    steps = [{"value": None, "color": base}, *({"value": value, "color": colour} for value, colour in panel.steps)]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "noValue": panel.absent,
        "mappings": [_absent(panel)],
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
        "links": [_runbook(alert) for alert in panel.alerts],
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


def _absent(panel: Panel) -> dict[str, Any]:
    """A share of nothing is no number either."""
    result = {"text": panel.absent, "color": NO_COLOUR, "index": 0}
    return {"type": "special", "options": {"match": "null+nan", "result": result}}


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
