"""The picture of a run: a panel for each kind of series, with the lines that were judged. SVG, drawn by matplotlib, the
same for the same samples: `python -m tests.soak.chart SAMPLES PICTURE`."""

import importlib.util
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.soak.series import WARM_UP, names_of

WIDTH, HEIGHT = 11.0, 2.0  # inches; the height is a row's
COLUMNS = 2
MOST = 6  # lines of a panel
COLOURS = ("#0b7a75", "#c8553d", "#5d6d7a", "#8f6bb3", "#b8892b", "#3c6fb0")
PANELS: tuple[tuple[str, str], ...] = (
    ("memory of the instances, MiB", r"unit-\d+: memory"),
    ("Python's objects in them, and its allocator's room, MiB", r"unit-\d+: (objects|room) of Python"),
    ("memory of Redis, and its data, MiB", r"redis: (memory|data)"),
    ("allocations of Python in the instances", r"unit-\d+: allocations"),
    ("tasks of the instances", r"unit-\d+: tasks"),
    ("open files", r".*: open files"),
    ("keys in Redis", r"redis: keys.*"),
    ("keys by kind: those that move most", r"keys: .*"),
    ("rows of tables that move", r"rows: .*"),
    ("connections and subscriptions", r"clients: (connections|subscriptions)"),
    ("connections that no client holds", r"clients: not held by any"),
)


def missing() -> str | None:
    """Why nothing can be drawn, or None."""
    return None if importlib.util.find_spec("matplotlib") else "matplotlib is not installed (requirements-bench.txt)"


def draw(times: Sequence[float], samples: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw all panels that have a series."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "soak", "font.size": 9, "font.family": "sans-serif"}
    )
    panels = [(title, lines) for title, pattern in PANELS if (lines := _lines(pattern, samples))]
    rows = -(-len(panels) // COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(WIDTH, HEIGHT * rows), squeeze=False, layout="constrained")
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    minutes = [time / 60 for time in times]
    for panel, (title, lines) in zip(axes.flat, panels, strict=False):
        _panel(panel, title, lines, minutes)
    figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")
    pyplot.close(figure)


def _lines(pattern: str, samples: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The series that match and move, those that move most if there are many."""
    names = [name for name in names_of(samples) if re.fullmatch(pattern, name)]
    found = {name: [sample.get(name, 0.0) for sample in samples] for name in names}
    highest = sorted(found, key=lambda name: min(found[name]) - max(found[name]))[:MOST]
    return {name: values for name, values in found.items() if name in highest and min(values) < max(values)}


def _panel(panel: Any, title: str, lines: Mapping[str, Sequence[float]], minutes: Sequence[float]) -> None:
    for (name, values), colour in zip(lines.items(), COLOURS, strict=False):
        label = name if name.startswith(("unit", "redis", "serve")) else name.partition(": ")[2]
        panel.plot(minutes, values, color=colour, linewidth=1.0, label=label)
    panel.axvspan(minutes[0], minutes[0] + WARM_UP * (minutes[-1] - minutes[0]), color="#eef1f3", linewidth=0)
    panel.set_title(title, loc="left", fontsize=9)
    panel.set_ylim(bottom=min(0.0, *(min(values) for values in lines.values())))
    panel.set_xlim(minutes[0], minutes[-1])
    panel.set_xlabel("minutes", fontsize=7, loc="right", labelpad=0)
    panel.legend(loc="lower right", fontsize=7, frameon=False, ncols=2)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def main() -> None:
    """Draw what a run has left: SAMPLES, a JSON file, into PICTURE."""
    samples, picture = (Path(word) for word in sys.argv[1:])
    kept = json.loads(samples.read_text())
    series: dict[str, list[float]] = kept["series"]
    rows = [{name: values[number] for name, values in series.items()} for number in range(len(kept["times"]))]
    draw(kept["times"], rows, picture)


if __name__ == "__main__":
    main()
