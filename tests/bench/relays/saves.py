"""Saves rows of two models that differ in one thing: a live model shows one. In turn, so that both meet the same.

    python -m tests.bench.relays.saves SAVES

Prints the percentiles of `save()` of each in milliseconds, and how many publications a live save has made.
"""

import json
import sys
import time
from statistics import quantiles

import django

ROWS = 100
WARM = 100  # saves of each that do not count


def main() -> None:
    saves = int(sys.argv[1])
    django.setup()
    from flotilla.realtime.models import OutboxRow
    from tests.cluster.support.cardapp.models import Card, Plain

    times: dict[str, list[float]] = {"plain": [], "live": []}
    rows: dict[str, list[Plain] | list[Card]] = {
        "plain": [Plain.objects.create(board=1, generation=1) for _ in range(ROWS)],
        "live": [Card.objects.create(board=1, generation=1) for _ in range(ROWS)],
    }
    before = OutboxRow.objects.count()
    for number in range(WARM + saves):
        for kind in ("plain", "live") if number % 2 else ("live", "plain"):
            row = rows[kind][number % ROWS]
            row.counter, row.title = row.counter + 1, f"title {number}"
            began = time.perf_counter()
            row.save()
            times[kind].append((time.perf_counter() - began) * 1000)
    figures = {"publications": (OutboxRow.objects.count() - before) / (WARM + saves)}
    cuts = {kind: quantiles(took[WARM:], n=100, method="inclusive") for kind, took in times.items()}
    for name, index in (("p50_ms", 49), ("p95_ms", 94)):
        figures |= {f"{kind}_{name}": cuts[kind][index] for kind in cuts}
        figures[f"added_{name}"] = cuts["live"][index] - cuts["plain"][index]
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
