"""What webhooks have done, by the names of the endpoints, which are those of the configuration; none without one."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from flotilla.monitoring.families import counters, gauges, sums
from flotilla.realtime.webhooks.delivery import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flotilla.realtime.webhooks.delivery import Delivery


def webhook_metrics(deliveries: "Sequence[Delivery]") -> "Iterator[Metric]":
    """The metrics of this process's deliveries; what waits is told by the one process that delivers."""
    if not deliveries:
        return
    stats = {delivery.name: delivery.stats for delivery in deliveries}
    yield counters(
        "webhook_events",
        "Events that an endpoint has taken.",
        "endpoint",
        {name: one.events for name, one in stats.items()},
    )
    yield counters(
        "webhook_events_dropped",
        "Events that were dropped because too many waited.",
        "endpoint",
        {name: one.dropped for name, one in stats.items()},
    )
    yield sums(
        "webhook_requests",
        "Requests to an endpoint: delivered, refused (another answer than 2xx), failed (no answer).",
        ("endpoint", "outcome"),
        {(name, outcome): one.requests[outcome] for name, one in stats.items() for outcome in OUTCOMES},
    )
    yield gauges(
        "webhook_waiting",
        "Events that wait for an endpoint, as the process sees it that delivers to it.",
        ("endpoint",),
        {(name,): one.waiting for name, one in stats.items()},
    )
    now = time.time()
    yield gauges(
        "webhook_lag_seconds",
        "How long the oldest event has waited for an endpoint, as the process sees it that delivers to it.",
        ("endpoint",),
        {(name,): max(0.0, now - one.oldest) if one.oldest else 0.0 for name, one in stats.items()},
    )
