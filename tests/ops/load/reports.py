"""Reports as Artillery writes them, made to measure."""

from typing import Any


def times(count: int = 5000, p95: float = 20.0) -> dict[str, float]:
    """One histogram of a report."""
    return {"count": count, "min": 0.1, "max": p95 * 3, "p50": p95 / 4, "p95": p95, "p99": p95 * 2}


def report(
    counters: dict[str, int] | None = None, delivery: Any = None, page: Any = None, periods: tuple[float, ...] = ()
) -> dict[str, Any]:
    """A run in which everything holds, but for what is changed."""
    good = {
        "vusers.created": 100,
        "vusers.completed": 100,
        "vusers.failed": 0,
        **{f"flotilla.{name}": 0 for name in ("refused", "unserved", "lost", "doubled", "misordered")},
        "flotilla.asked": 1000,
        "flotilla.pages": 500,
        "flotilla.settled": 80,
    }
    summaries = {"flotilla.delivery": delivery or times(), "flotilla.page": page or times(500)}
    return {
        "aggregate": {"counters": good | (counters or {}), "summaries": summaries},
        "intermediate": [{"summaries": {"flotilla.delivery": times(500, p95)}} for p95 in periods],
    }
