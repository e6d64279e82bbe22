"""What changed between two runs, and whether it is worse by more than noise. Pure.

Noise of a time is what the first run's own periods differ by: three times their median deviation, and never less than
10 ms or a fifth of the value. Counts of what must not be have no noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from flotilla.ops.load.figures import Report, Times, over_time, read

MIN_MS = 10.0
MIN_SHARE = 0.2
ERRORS = 0.005  # of attempts


@dataclass(frozen=True, slots=True)
class Change:
    """One figure before and after; `worse` when it is a regression beyond `noise`."""

    name: str
    before: float | None
    after: float | None
    noise: float
    unit: str = ""

    @property
    def worse(self) -> bool:
        """More of any of these is worse; so is having no figure where there was one."""
        if self.before is None:
            return False
        return self.after is None or self.after > self.before + self.noise

    def __str__(self) -> str:
        mark = "WORSE" if self.worse else "ok   "
        noise = f" (noise {self.noise:.3g}{self.unit})" if self.noise else ""
        return f"{mark} {self.name:<26} {self._shown(self.before):>10} → {self._shown(self.after):>10}{noise}"

    def _shown(self, value: float | None) -> str:
        return "none" if value is None else f"{value:.4g}{self.unit}"


def compare(before: Report, after: Report) -> list[Change]:
    """All figures of two reports. Raises NotAReport."""
    return list(_changes(before, after))


def _changes(before: Report, after: Report) -> Iterator[Change]:
    one, two = read(before), read(after)
    for name, title in (("delivery", "publish→receive"), ("page", "HTTP"), ("recovery", "recovery")):
        first, second = getattr(one, name), getattr(two, name)
        if first.count or second.count:
            noise = _noise(first, over_time(before, f"flotilla.{name}"))
            yield Change(f"p95 {title}", first.p95, second.p95, noise, " ms")
    for kind, share in one.error_shares.items():
        yield Change(f"errors {kind}", share * 100, two.error_shares.get(kind, 1.0) * 100, ERRORS * 100, " %")
    for name in ("lost", "doubled", "misordered"):
        yield Change(name, getattr(one, name), getattr(two, name), 0)


def _noise(times: Times, periods: list[float]) -> float:
    middle = median(periods) if periods else 0.0
    deviation = median(abs(value - middle) for value in periods) if periods else 0.0
    return max(MIN_MS, MIN_SHARE * (times.p95 or 0.0), 3 * deviation)
