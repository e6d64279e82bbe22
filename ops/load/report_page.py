"""The report to look at: one HTML file that needs nothing else, with its charts as SVG. Pure."""

import html
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from flotilla.ops.load.figures import Figures, Times
from flotilla.ops.load.verdicts import Verdict

WIDTH, HEIGHT, LEFT = 720, 160, 46
CHARTS = (
    ("publish→receive, p95 of each second (ms)", "p95", False),
    ("deliveries a second", "delivered", True),
    ("HTTP requests a second", "pages", True),
    ("denials a second", "denied", True),
    ("WebSocket clients", "clients", False),
    ("generator late, p95 of each second (ms)", "late", False),
)
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .9rem .25rem 0;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}.pass{color:#0b7a75}.fail{color:#b3261e;font-weight:600}
svg{background:#f6f8fa;display:block;margin:.2rem 0 1.4rem}h2{font-size:1rem;margin:1rem 0 0}
"""


def render(title: str, verdicts: Sequence[Verdict], figures: Figures, told: Sequence[dict[str, Any]], more: str) -> str:
    """The whole page; `told` is what `progress.seconds` gives, `more` a line beside the verdicts."""
    bound = "".join(_verdict(one) for one in verdicts)
    times = "".join(f"<tr>{cells}</tr>" for cells in map(_cells, rows(figures)))
    charts = "".join(f"<h2>{html.escape(name)}</h2>{_chart(_series(told, key, rate))}" for name, key, rate in CHARTS)
    head = '<!doctype html><html lang="en"><meta charset="utf-8">'
    return (
        f"{head}<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>"
        f"<table>{bound}</table><p>{html.escape(more)}</p><table>{times}</table>{charts}</html>\n"
    )


def rows(figures: Figures) -> list[tuple[str, ...]]:
    """The table that is printed and shown: a head, times, counts."""
    named = (
        ("publish→receive", figures.delivery),
        ("  in the burst", figures.burst_delivery),
        ("HTTP", figures.page),
        ("  in the burst", figures.burst_page),
        ("recovery", figures.recovery),
        ("generator late", figures.late),
    )
    found: list[tuple[str, ...]] = [("", "samples", "p50 ms", "p95 ms", "p99 ms")]
    found += [(name, *_numbers(times)) for name, times in named if times.count]
    found.append(("", "attempts", "errors", "denied", "lost"))
    denied = figures.denied
    found.append(("clients", str(figures.clients), str(figures.failed), str(denied.get("3013", 0)), ""))
    found.append(("commands", str(figures.asked), str(figures.refused), str(denied.get("111", 0)), str(figures.lost)))
    found.append(("HTTP", str(figures.pages), str(figures.unserved), str(denied.get("429", 0)), ""))
    if figures.cuts:
        found.append(("cut off", str(figures.cuts), str(figures.cuts - figures.recovered), "", ""))
    return found


def _numbers(times: Times) -> tuple[str, ...]:
    return (str(times.count), *("" if value is None else f"{value:.1f}" for value in (times.p50, times.p95, times.p99)))


def _verdict(one: Verdict) -> str:
    kind = "pass" if one.passed else "fail" if one.measured else "open"
    found = html.escape(f"{one.found}{'' if one.measured else '; not measured'}")
    return f'<tr><td class="{kind}">{one.word}</td><td>{html.escape(one.name)}</td><td>{found}</td></tr>'


def _cells(row: tuple[str, ...]) -> str:
    first, *rest = map(html.escape, row)
    return f"<th>{first}</th>" + "".join(f'<td class="n">{cell}</td>' for cell in rest)


def _series(told: Sequence[dict[str, Any]], key: str, as_rate: bool) -> list[tuple[float, float]]:
    if not as_rate:
        return [(entry["second"], entry[key]) for entry in told if entry.get(key) is not None]
    return [
        (after["second"], max(0.0, (after[key] - before[key]) / (after["second"] - before["second"])))
        for before, after in pairwise(told)
        if after["second"] > before["second"]
    ]


def _chart(points: list[tuple[float, float]]) -> str:
    if len(points) < 2:
        return "<p>nothing to draw</p>"
    last, top = max(x for x, _ in points), max(y for _, y in points) or 1.0

    def place(x: float, y: float) -> str:
        across = LEFT + x / last * (WIDTH - LEFT - 8)
        return f"{across:.1f},{HEIGHT - 20 - y / top * (HEIGHT - 32):.1f}"

    line = " ".join(place(x, y) for x, y in points)
    labels = "".join(
        f'<text x="{x}" y="{y}" font-size="11" fill="#5d6d7a">{text}</text>'
        for x, y, text in ((4, 16, f"{top:.4g}"), (4, HEIGHT - 20, "0"), (WIDTH - 50, HEIGHT - 4, f"{last:g} s"))
    )
    drawn = f'<polyline points="{line}" fill="none" stroke="#0b7a75" stroke-width="1.5"/>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">{labels}{drawn}</svg>'
