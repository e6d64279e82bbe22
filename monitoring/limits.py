"""Metrics of the rate limits, read from the process's limiter when Prometheus asks.

Labels are policies, which the configuration bounds, and outcomes; never a key, a user or an address.
"""

from collections.abc import Iterator
from itertools import accumulate, product

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from flotilla.ratelimit.counts import OUTCOMES, TIMES, Counts
from flotilla.ratelimit.service import Limits, current_limits


class LimitsCollector(Collector):
    """The numbers of this process's limits; none before anything was limited."""

    def describe(self) -> list[Metric]:
        """Nothing in advance, so that registering makes no limits."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Each metric with its value now."""
        limits = current_limits()
        if limits is not None:
            yield from _decisions(limits)
            yield _times(limits.limiter.counts)
            remembered = limits.limiter.counts.remembered
            yield CounterMetricFamily(
                "flotilla_ratelimit_remembered", "Denials that cost no round trip to Redis.", value=remembered
            )
            yield GaugeMetricFamily(
                "flotilla_ratelimit_redis_away",
                "1 while limits are decided without Redis, else 0.",
                float(limits.limiter.breaker.open),
            )


def _decisions(limits: Limits) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "flotilla_ratelimit_decisions", "Verdicts of the rate limits.", labels=["policy", "outcome"]
    )
    counted = dict(limits.limiter.counts.outcomes)
    names = sorted({policy.name for policy in limits.policies if policy.narrow is None} | {name for name, _ in counted})
    for name, outcome in product(names, OUTCOMES):  # 0 too: a rate sees the first denial only beside what was before
        family.add_metric([name, outcome], counted.get((name, outcome), 0))
    yield family


def _times(counts: Counts) -> Metric:
    running = list(accumulate(counts.times))
    bounds = [*(f"{bound:g}" for bound in TIMES), "+Inf"]
    return HistogramMetricFamily(
        "flotilla_ratelimit_decision_seconds",
        "Time of the decisions that asked Redis.",
        buckets=list(zip(bounds, map(float, running), strict=True)),
        sum_value=counts.time_sum,
    )


def register() -> None:
    """Let Prometheus's registry ask this process's limits."""
    REGISTRY.register(LimitsCollector())
