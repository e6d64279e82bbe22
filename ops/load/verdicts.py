"""The verdicts: one line for each thing that must hold. Pure. Whatever was not measured has failed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from flotilla.ops.load.admitted import Held
from flotilla.ops.load.figures import Figures
from flotilla.ops.load.slo import Slo

TIMES = ("p95 publish→receive", "p95 HTTP", "p95 publish→receive in the burst", "p95 HTTP in the burst")
ARTILLERY = "Artillery's own checks"
CERTAIN = ("lost", "doubled", "misordered", "overshoot ")  # beginnings of names: no busy machine causes these


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the SLO."""

    name: str
    passed: bool
    found: str
    measured: bool = True

    @property
    def word(self) -> str:
        """What came of it."""
        return "PASS" if self.passed else "FAIL" if self.measured else "----"

    def __str__(self) -> str:
        return f"{self.word}  {self.name}: {self.found}{'' if self.measured else '; not measured'}"


def judge(slo: Slo, figures: Figures, held: Sequence[Held], without: frozenset[str] = frozenset()) -> list[Verdict]:
    """All verdicts, in the order they are shown; `without` names samples that this target cannot give."""
    return [
        *_times(slo, figures),
        _errors(figures, slo.errors),
        *(_none(name, getattr(figures, name), slo.lost) for name in ("lost", "doubled", "misordered")),
        *_limits(held, slo.overshoot),
        *_samples(figures, slo, without),
    ]


def doubted(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of a run whose generator was late: what failed and may be this machine's own was not measured.
    Artillery's own checks are about all of it at once, so they fail for certain only beside something that does."""
    certain = any(not one.passed and one.name.startswith(CERTAIN) for one in verdicts)

    def holds(one: Verdict) -> bool:
        return one.passed or one.name.startswith(CERTAIN) or (one.name == ARTILLERY and certain)

    return [replace(one, measured=holds(one)) for one in verdicts]


def artillery(checks: Sequence[tuple[bool, str]], exit_code: int) -> Verdict:
    """What Artillery's own `ensure` found: `checks` are (passed, expression)."""
    failed = [expression for passed, expression in checks if not passed]
    if failed:
        return Verdict(ARTILLERY, False, "; ".join(failed))
    if not checks or exit_code:
        return Verdict(ARTILLERY, False, f"{len(checks)} checks, exit status {exit_code}")
    return Verdict(ARTILLERY, True, f"all {len(checks)}")


def _times(slo: Slo, figures: Figures) -> Iterator[Verdict]:
    times = [figures.delivery, figures.page, *([figures.burst_delivery, figures.burst_page] if slo.floods else [])]
    bounds = (slo.delivery_p95_ms, slo.page_p95_ms) * 2
    for name, found, bound in zip(TIMES, times, bounds, strict=False):
        yield _p95(name, found.p95, bound)


def _p95(name: str, value: float | None, bound: float) -> Verdict:
    if value is None:
        return Verdict(name, False, "no data")
    return Verdict(name, value < bound, f"{value:.1f} ms (< {bound:g} ms)")


def _errors(figures: Figures, bound: float) -> Verdict:
    shares = figures.error_shares
    if set(shares) != {"clients", "commands", "HTTP"}:
        return Verdict("errors", False, "no data: no clients, commands or requests were counted")
    found = ", ".join(f"{kind} {share:.2%}" for kind, share in shares.items())
    faults = "; ".join(f"{text} ×{count}" for text, count in sorted(figures.faults.items())[:4])
    return Verdict("errors", max(shares.values()) < bound, f"{found} (< {bound:.0%}){f': {faults}' if faults else ''}")


def _none(name: str, value: int, bound: int) -> Verdict:
    return Verdict(name, value <= bound, f"{value} publications")


def _limits(held: Sequence[Held], bound: int) -> Iterator[Verdict]:
    for one in held:
        about = f"{one.worst} over {one.rate}, {one.admitted} admitted for {one.keys} keys"
        yield Verdict(f"overshoot {one.policy}", one.worst <= bound and one.admitted > 0, about)


def _samples(figures: Figures, slo: Slo, without: frozenset[str]) -> Iterator[Verdict]:
    counts = {
        "deliveries": figures.delivery.count,
        "pages": figures.page.count,
        "settled": figures.settled,
        "burst": figures.burst_delivery.count,
        "denied": figures.denied.get("111", 0),
        "recovered": figures.recovered,
    }
    for name, least in slo.samples.items():
        if name not in without:
            yield Verdict(f"samples {name}", counts[name] >= least, f"{counts[name]} (≥ {least})")
