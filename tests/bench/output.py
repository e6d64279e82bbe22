"""Where the figures go: the screen, var/bench/ (results.json, table.md, chart.svg) and, when asked, docs/."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tests.bench import aims, chart, report
from tests.bench.jobs.base import Job
from tests.bench.servers.base import Server
from tests.cluster.support.processes import ROOT

WHERE = ROOT / "var" / "bench"
DOCUMENT = ROOT / "docs" / "BENCHMARKS.md"
PICTURE = ROOT / "docs" / "images" / "benchmarks.svg"
BEGIN, END = "<!-- figures: begin (written by the bench) -->", "<!-- figures: end -->"


def write(
    results: report.Results, jobs: Mapping[str, Job], servers: Mapping[str, type[Server]], where: Path, docs: bool
) -> None:
    """Print the tables and write every file."""
    text = report.document(results, jobs, servers, aims.judged(results))
    print(f"\n{text}")
    where.mkdir(parents=True, exist_ok=True)
    (where / "table.md").write_text(text)
    everything = asdict(results) | {"medians": {name: results.medians(name) for name in results.figures}}
    (where / "results.json").write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n")
    drawn = chart.missing() is None and chart.draw(results, jobs, servers, where / "chart.svg")
    if not drawn:
        print(f"no chart: {chart.missing() or 'it takes a job with more than one server'}")
    if docs:
        _write_docs(text, where / "chart.svg" if drawn else None)
    print(f"written: {where}/results.json, table.md{', chart.svg' if drawn else ''}")


def _write_docs(text: str, chart_path: Path | None) -> None:
    """Replace what stands between the marks of the document, picture included."""
    before, rest = DOCUMENT.read_text().split(BEGIN)
    picture = ""
    if chart_path is not None:
        shutil.copyfile(chart_path, PICTURE)
        picture = f"![Flotilla's figures beside the others]({PICTURE.relative_to(DOCUMENT.parent)})\n\n"
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{picture}{text}\n{END}{rest.split(END)[1]}")


def earlier(where: Path) -> report.Results | None:
    """What the last run left, to add to."""
    path = where / "results.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    kept.pop("medians")
    return report.Results(**kept)
