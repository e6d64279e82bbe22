"""What Artillery's JSON report says, as numbers: the second reader, which trusts nothing that is not there.

Milliseconds and counts. A histogram without samples has no p95 (None), never 0. Clients that neither failed nor
completed count as failed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Report = Mapping[str, Any]


HISTOGRAMS = ("delivery", "page", "burst_delivery", "burst_page", "recovery", "late")
COUNTERS = (
    *("asked", "refused", "pages", "unserved"),
    *("lost", "doubled", "misordered", "settled", "cuts", "recovered"),
)


class NotAReport(ValueError):
    """The file is no report of Artillery's."""


@dataclass(frozen=True, slots=True)
class Times:
    """One histogram, in milliseconds."""

    count: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """A run in numbers."""

    delivery: Times
    page: Times
    burst_delivery: Times  # while the flood is on, of clients within their limits
    burst_page: Times
    recovery: Times
    late: Times  # by how much the generator's own clock was late: the machine's share of every time
    clients: int  # virtual users, WebSocket and HTTP
    failed: int  # of them
    asked: int  # commands
    refused: int  # of them, other than by a denial that was asked for
    pages: int  # HTTP requests within the limits
    unserved: int  # of them answered with an error; those without any answer are failed clients
    lost: int
    doubled: int
    misordered: int
    settled: int  # clients that compared their place with the top of the stream at the end
    cuts: int
    recovered: int
    denied: Mapping[str, int] = field(default_factory=dict)  # denials that were asked for, by code
    faults: Mapping[str, int] = field(default_factory=dict)  # what Artillery calls errors, by text

    @property
    def error_shares(self) -> dict[str, float]:
        """Errors by kind, each as a share of its own attempts."""
        shares = {
            "clients": _share(self.failed, self.clients),
            "commands": _share(self.refused, self.asked),
            "HTTP": _share(self.unserved, self.pages),
        }
        return {kind: share for kind, share in shares.items() if share is not None}


def read(report: Report) -> Figures:
    """The figures of a report. Raises NotAReport."""
    try:
        return _read(report["aggregate"]["counters"], report["aggregate"]["summaries"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotAReport(f"this is not a report of Artillery's: {error!r}") from None


def _read(counters: Mapping[str, Any], summaries: Mapping[str, Any]) -> Figures:
    clients = int(counters["vusers.created"])
    ours = {name.removeprefix("flotilla."): int(value) for name, value in counters.items()}
    times: dict[str, Any] = {name: _times(summaries.get(f"flotilla.{name}")) for name in HISTOGRAMS}
    counts: dict[str, Any] = {name: ours.get(name, 0) for name in COUNTERS}
    return Figures(
        **times,
        **counts,
        clients=clients,
        failed=clients - int(counters.get("vusers.completed", 0)),
        denied={name.removeprefix("denied."): value for name, value in ours.items() if name.startswith("denied.")},
        faults={name.removeprefix("errors."): value for name, value in ours.items() if name.startswith("errors.")},
    )


def over_time(report: Report, histogram: str = "flotilla.delivery") -> list[float]:
    """The p95 of each of Artillery's periods that has samples, in order. Raises NotAReport."""
    try:
        found = [_times(period.get("summaries", {}).get(histogram)) for period in report.get("intermediate", [])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotAReport(f"this is not a report of Artillery's: {error!r}") from None
    return [times.p95 for times in found if times.p95 is not None]


def _times(summary: Any) -> Times:
    if not isinstance(summary, Mapping) or not summary.get("count"):
        return Times()
    return Times(int(summary["count"]), *(float(summary[name]) for name in ("p50", "p95", "p99")))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
