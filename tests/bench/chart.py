"""The picture: one panel a job, one bar a server, Flotilla's in colour. Drawn by matplotlib as SVG, the same for the
same figures."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from tests.bench.jobs.base import Job
from tests.bench.report import Results, shown
from tests.bench.servers.base import Server

OURS, OTHERS, FLOOR = "#0b7a75", "#b9c2c9", "#5d6d7a"
WIDTH = 11.0  # inches
COLUMNS = 2


def missing() -> str | None:
    """Why nothing can be drawn, or None."""
    return None if importlib.util.find_spec("matplotlib") else "matplotlib is not installed (requirements-bench.txt)"


def draw(results: Results, jobs: Mapping[str, Job], servers: Mapping[str, type[Server]], path: Path) -> bool:
    """Draw every job that has a panel and was measured on more than one server; False when there is none."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9, "font.family": "sans-serif"}
    )
    shown_jobs = [jobs[name] for name, by_server in results.figures.items() if jobs[name].panel and len(by_server) > 1]
    if not shown_jobs:
        return False
    pairs = [shown_jobs[i : i + COLUMNS] for i in range(0, len(shown_jobs), COLUMNS)]
    heights = [max(len(results.figures[job.name]) for job in pair) * 0.26 + 0.9 for pair in pairs]
    figure, panels = pyplot.subplots(
        len(pairs), COLUMNS, figsize=(WIDTH, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for panel in panels.flat[len(shown_jobs) :]:
        panel.set_visible(False)
    for panel, job in zip(panels.flat, shown_jobs, strict=False):
        _panel(panel, job, results, servers)
    figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")
    pyplot.close(figure)
    return True


def _panel(panel: object, job: Job, results: Results, servers: Mapping[str, type[Server]]) -> None:
    medians = results.medians(job.name)
    names = [name for name in reversed(job.servers) if name in medians]
    values = [medians[name].get(job.headline, 0) for name in names]
    bars = panel.barh([servers[name].title for name in names], values, color=[_colour(name) for name in names])
    panel.bar_label(bars, labels=[shown(value) for value in values], padding=3)
    panel.set_title(f"{job.panel}\n({'more' if job.more_is_better else 'less'} is better)", loc="left", fontsize=9)
    panel.set_xlim(0, max(values, default=0) * 1.18 or 1)
    panel.xaxis.set_visible(False)
    for side in ("top", "right", "bottom"):
        panel.spines[side].set_visible(False)
    panel.tick_params(axis="y", length=0)


def _colour(name: str) -> str:
    return OURS if name.startswith("flotilla") else FLOOR if name.startswith("cfloor") else OTHERS
