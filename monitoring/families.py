"""Families of metrics as prometheus_client wants them, of counts that were kept without it. Names get `flotilla_`."""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.core import Exemplar as OpenMetricsExemplar

from flotilla.store.stats import Exemplar, Histogram


def gauge(name: str, says: str, value: float) -> Metric:
    """One value now."""
    return GaugeMetricFamily(f"flotilla_{name}", says, value)


def counter(name: str, says: str, value: float) -> Metric:
    """One sum so far."""
    return CounterMetricFamily(f"flotilla_{name}", says, value=value)


def counters(name: str, says: str, label: str, values: Mapping[Any, float]) -> Metric:
    """Sums so far by one label."""
    family = CounterMetricFamily(f"flotilla_{name}", says, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def histograms(name: str, says: str, label: str, values: Mapping[str, Histogram]) -> Metric:
    """Histograms by one label."""
    family = HistogramMetricFamily(f"flotilla_{name}", says, labels=[label])
    for key, value in values.items():
        family.add_metric([key], _buckets(value), value.total)
    return family


def histogram(name: str, says: str, value: Histogram, exemplars: Mapping[int, Exemplar] | None = None) -> Metric:
    """One histogram. `exemplars`: by the index of a bucket; whoever asks for OpenMetrics is given them."""
    family = HistogramMetricFamily(f"flotilla_{name}", says)
    shown = {
        index: OpenMetricsExemplar({"trace_id": one.trace_id}, one.value, one.at)
        for index, one in dict(exemplars or {}).items()
    }
    buckets: list[Any] = [
        (*bucket, shown[index]) if index in shown else bucket for index, bucket in enumerate(_buckets(value))
    ]
    family.add_metric([], buckets, value.total)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, int]]:
    sums = accumulate(histogram.counts[:])
    return list(zip((*map(str, map(float, histogram.bounds)), "+Inf"), sums, strict=True))


def sums(name: str, says: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    """Sums so far by several labels."""
    family = CounterMetricFamily(f"flotilla_{name}", says, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauges(name: str, says: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    """Values now by labels."""
    family = GaugeMetricFamily(f"flotilla_{name}", says, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def filled(keys: Iterable[Any], counted: Mapping[Any, int]) -> dict[Any, int]:
    """Every key, with 0 for those not counted yet: a rate needs a first value."""
    known = dict(counted)
    return {key: known.get(key, 0) for key in keys}
