"""What comes out: medians and ratios as a Markdown table, everything measured as JSON, a chart; into var/bench/."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import machine
from jobs.base import Job
from load import Figures
from processes import ROOT
from servers.base import Server

WHERE = ROOT / "var" / "bench"


@dataclass(slots=True)
class Results:
    """Every figure, by job, server and round; who was skipped and why; what failed."""

    quick: bool
    rounds: int
    machine: dict[str, str] = field(default_factory=machine.description)
    day: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())
    cores: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, job: str, server: str, figures: Figures) -> None:
        """One round of one server at one job."""
        self.figures.setdefault(job, {}).setdefault(server, []).append(figures)

    def medians(self, job: str) -> dict[str, Figures]:
        """By server: the median of each figure over the rounds."""
        return {
            server: {key: median(one[key] for one in rounds) for key, value in rounds[0].items() if _is_number(value)}
            for server, rounds in self.figures.get(job, {}).items()
        }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def shown(value: Any) -> str:
    """A figure for people: three digits that matter."""
    if not _is_number(value):
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(results: Results, job: Job, servers: Mapping[str, type[Server]]) -> str:
    """A job's medians; the last column compares its headline with the baseline's."""
    medians = results.medians(job.name)
    base = medians.get(job.baseline, {}).get(job.headline)
    compared = f"{servers[job.baseline].title.split(',')[0].split(' on ')[0]} is" if job.baseline in servers else ""
    lines = [
        f"| | {' | '.join(job.columns.values())} | {compared} |",
        "|---|" + "---:|" * (len(job.columns) + 1),
    ]
    for name in (name for name in job.servers if name in medians):
        figures = medians[name]
        cells = [shown(figures.get(key)) for key in job.columns]
        lines.append(f"| {servers[name].title} | {' | '.join(cells)} | {_ratio(job, base, figures)} |")
    return "\n".join(lines)


def _ratio(job: Job, base: float | None, figures: Figures) -> str:
    """How many times better the baseline is: above 1 always speaks for it."""
    own = figures.get(job.headline)
    if not base or not own:
        return "–"
    ratio = base / own if job.more_is_better else own / base
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.0f}×"


def document(results: Results, jobs: Mapping[str, Job], servers: Mapping[str, type[Server]]) -> str:
    """All tables, with what was measured on what."""
    about = results.machine
    parts = [
        f"Measured {results.day} on {about['cpu']}, {about['system']}, Python {about['python']}; "
        f"medians of {results.rounds}{', quick: not to be trusted' if results.quick else ''}."
    ]
    for job in (jobs[name] for name in results.figures):
        parts.append(f"### {job.title}\n\n{table(results, job, servers)}")
        parts.append("\n".join((f"{results.cores[job.name][:1].upper()}{results.cores[job.name][1:]}.", *job.notes)))
    if results.skipped:
        parts.append("Skipped: " + "; ".join(f"{name} ({reason})" for name, reason in results.skipped.items()) + ".")
    if results.failures:
        parts.append("Failed: " + "; ".join(results.failures) + ".")
    return "\n\n".join(parts) + "\n"


def write(results: Results, jobs: Mapping[str, Job], servers: Mapping[str, type[Server]], into_docs: bool) -> None:
    """Print the tables and write every file."""
    text = document(results, jobs, servers)
    print(f"\n{text}")
    WHERE.mkdir(parents=True, exist_ok=True)
    (WHERE / "table.md").write_text(text)
    everything = {name: getattr(results, name) for name in Results.__slots__}
    everything["medians"] = {name: results.medians(name) for name in results.figures}
    (WHERE / "results.json").write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n")
    _draw(results, jobs, servers, WHERE / "chart.svg")
    if into_docs:
        _put_into_docs(text)
    print(f"written: {WHERE.relative_to(ROOT)}/results.json, table.md")


def _draw(results: Results, jobs: Mapping[str, Job], servers: Mapping[str, type[Server]], path: Path) -> None:
    pass


def _put_into_docs(text: str) -> None:
    pass
