"""What must hold, from `profile/slo.toml`: the one place for it. Artillery's own checks are made from it too."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "profile" / "slo.toml"

# How each count of samples is called in Artillery's report.
SAMPLES = {
    "deliveries": "flotilla.delivery.count",
    "pages": "flotilla.page.count",
    "settled": "flotilla.settled",
    "burst": "flotilla.burst_delivery.count",
    "denied": "flotilla.denied.111",
    "recovered": "flotilla.recovered",
}


@dataclass(frozen=True, slots=True)
class Slo:
    """Milliseconds, a share from 0 to 1, and counts; `samples` by the names in SAMPLES."""

    delivery_p95_ms: float
    page_p95_ms: float
    errors: float
    lost: int
    overshoot: int
    samples: Mapping[str, int]

    @property
    def floods(self) -> bool:
        """Whether the profile has a flood, during which times count by themselves."""
        return "burst" in self.samples


def load(profile: str, path: Path = FILE) -> Slo:
    """The SLO of a profile. Raises ValueError that names what is wrong in the file."""
    found: dict[str, Any] = tomllib.loads(path.read_text())
    samples = found.get("samples", {}).get(profile)
    if not samples:
        raise ValueError(f"{path.name} has no [samples.{profile}]: without it nothing would be proven")
    if unknown := set(samples) - set(SAMPLES):
        raise ValueError(f"{path.name}: {min(unknown)!r} in [samples.{profile}] is nothing that is counted")
    try:
        return Slo(**found["objectives"], samples=samples)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name}: [objectives] is not complete: {error}") from None


def conditions(slo: Slo, without: frozenset[str] = frozenset()) -> list[dict[str, str]]:
    """The conditions for Artillery's plugin `ensure`. It fails on a metric that was never counted, as it should."""
    clients = "(vusers.failed + vusers.completed)"
    kinds = ("", "burst_") if slo.floods else ("",)
    expressions = [
        *(f"flotilla.{kind}delivery.p95 < {slo.delivery_p95_ms:g}" for kind in kinds),
        *(f"flotilla.{kind}page.p95 < {slo.page_p95_ms:g}" for kind in kinds),
        f"vusers.failed < {slo.errors:g} * {clients}",
        f"flotilla.refused <= {slo.errors:g} * flotilla.asked",
        f"flotilla.unserved <= {slo.errors:g} * flotilla.pages",
        *(f"flotilla.{name} <= {slo.lost}" for name in ("lost", "doubled", "misordered")),
        *(f"{SAMPLES[name]} >= {least}" for name, least in slo.samples.items() if name not in without),
    ]
    return [{"expression": expression} for expression in expressions]
