"""The server's own p95 of deliveries during a run, to set beside the clients': from the instances or a Prometheus.

The server measures from Redis to its last local write, the clients from the intended moment to the arrival; what lies
between is the way to the server, the network and the generator. Milliseconds.
"""

import math
import urllib.request
from collections import defaultdict
from collections.abc import Mapping, Sequence

from prometheus_client.parser import text_string_to_metric_families

from flotilla.ops.prometheus_api import Prometheus

HISTOGRAM = "flotilla_delivery_seconds"
AGREE_WITHIN = 20.0  # milliseconds
TIMEOUT = 5.0  # seconds

Buckets = Mapping[float, float]
"""Upper bound in seconds to the count up to it."""


def is_ready(url: str) -> bool:
    """Whether the instance behind this metrics URL says that it takes clients."""
    try:
        return any(name == "app_ready" and value == 1 for name, _, value in _samples(url))
    except OSError:
        return False


def buckets(urls: Sequence[str]) -> Buckets:
    """The histogram of all instances so far. Raises OSError."""
    found: dict[float, float] = defaultdict(float)
    for url in urls:
        for name, labels, value in _samples(url):
            if name == f"{HISTOGRAM}_bucket":
                found[float(labels["le"])] += value
    return found


def p95(before: Buckets, after: Buckets) -> float | None:
    """The 95th percentile of what came between, within its bucket by straight line; None when nothing came."""
    bounds = sorted(after)
    counts = [after[bound] - before.get(bound, 0) for bound in bounds]
    if not counts or counts[-1] <= 0:
        return None
    wanted = 0.95 * counts[-1]
    low, below = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= wanted:
            if math.isinf(bound):
                return low * 1000
            return (low + (bound - low) * (wanted - below) / (count - below)) * 1000
        low, below = bound, count
    return None


def from_prometheus(url: str, seconds: float) -> float | None:
    """The same from a Prometheus that scrapes the instances, over the last `seconds`. Raises Unreachable."""
    increase = f'increase({HISTOGRAM}_bucket{{job="flotilla"}}[{math.ceil(seconds)}s])'
    value = Prometheus(url).value(f"histogram_quantile(0.95, sum by (le) ({increase}))")
    return None if value is None or math.isnan(value) else value * 1000


def compared(server: float | None, client: float | None) -> str:
    """One line for people."""
    if server is None or client is None:
        return "server-side p95: no data"
    apart = abs(server - client)
    judged = "they agree" if apart <= AGREE_WITHIN else f"they are {apart:.0f} ms APART: look at network and generator"
    return f"server-side p95 {server:.1f} ms, the clients' {client:.1f} ms: {judged}"


def _samples(url: str) -> list[tuple[str, Mapping[str, str], float]]:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310  an address of our own
        text = response.read().decode()
    return [(s.name, s.labels, s.value) for family in text_string_to_metric_families(text) for s in family.samples]
