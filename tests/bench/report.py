"""What was measured: every figure by job, server and round, their medians, and Markdown tables with ratios."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.bench import machine
from tests.bench.jobs.base import Job
from tests.bench.load import Figures
from tests.bench.servers.base import Server


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


def _circumstances(results: Results, job: Job) -> str:
    """Who had which core, and how much of the machine belonged to somebody else meanwhile."""
    cores = results.cores[job.name]
    others = median(one["others"] for rounds in results.figures[job.name].values() for one in rounds)
    return f"{cores[:1].upper()}{cores[1:]}. Everything else on the machine kept {others:.2f} cores busy."


def document(results: Results, jobs: Mapping[str, Job], servers: Mapping[str, type[Server]], aims: str) -> str:
    """All tables, with what was measured on what; `aims` is the first of them."""
    about = results.machine
    quick = ". Quick: a tenth of the clients for a second; not to be trusted" if results.quick else ""
    parts = [
        f"Measured {results.day} on {about['cpu']}, {about['system']}, Python {about['python']}; "
        f"medians of {results.rounds}{quick}."
    ]
    if aims:
        parts.append(f"### In short\n\n{aims}")
    for job in (jobs[name] for name in results.figures):
        parts.append(f"### {job.title}\n\n{table(results, job, servers)}")
        parts.append("\n".join((_circumstances(results, job), *job.notes)))
    if results.skipped:
        parts.append("Skipped: " + "; ".join(f"{name} ({reason})" for name, reason in results.skipped.items()) + ".")
    if results.failures:
        parts.append("Failed: " + "; ".join(results.failures) + ".")
    return "\n\n".join(parts) + "\n"
