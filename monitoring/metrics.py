"""Every metric of ours, each with what it counts.

The node counts as it works and knows nothing of metrics; they are read from it when Prometheus asks, in the exporter's
thread. Labels are bounded: no user, channel, client or raw path, and close codes that are not the protocol's own are
"other", for a client may close with any. HTTP and database metrics are django-prometheus's.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from realtime.protocol.codes import DisconnectCode

if TYPE_CHECKING:
    from realtime.engine.node import Node

_STANDARD = (1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011)  # RFC 6455, 7.4.1
_KNOWN = {str(int(code)) for code in (*_STANDARD, *DisconnectCode)}


def close_label(code: str) -> str:
    """The `code` label for what the node counted."""
    return code if code in _KNOWN else "other"


class NodeCollector(Collector):
    """The metrics of this process's node; without one, only that it is not ready."""

    def describe(self) -> list[Metric]:
        """Nothing in advance, so that registering asks no node."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Each metric with its value now."""
        from realtime.engine.node import current_node  # the apps are ready by now

        node = current_node()
        ready = node is not None and all(node.checks().values())
        yield GaugeMetricFamily("app_ready", "1 while the engine can take clients, else 0.", float(ready))
        if node is not None:
            yield from _gauges(node)
            yield from _counters(node)


def _gauges(node: "Node") -> Iterator[Metric]:
    yield GaugeMetricFamily("flotilla_connections", "WebSocket connections open now.", len(node.sessions))
    yield GaugeMetricFamily("flotilla_users", "Distinct users connected here now.", len(node.users))
    yield GaugeMetricFamily("flotilla_channels", "Channels with a subscriber here now.", len(node.hub.channels))


def _counters(node: "Node") -> Iterator[Metric]:
    opened, accepted, delivered = node.connections_opened, node.publications_in, node.hub.delivered
    yield CounterMetricFamily("flotilla_connections_opened", "WebSocket connections accepted.", value=opened)
    closed = CounterMetricFamily("flotilla_connections_closed", "Connections that ended, by code.", labels=["code"])
    by_label: Counter[str] = Counter()
    for code, count in dict(node.connections_closed).items():
        by_label[close_label(code)] += count
    for label, count in by_label.items():
        closed.add_metric([label], count)
    yield closed
    yield CounterMetricFamily("flotilla_publications_in", "Publications of this instance's clients.", value=accepted)
    yield CounterMetricFamily("flotilla_publications_out", "Publications written to connections.", value=delivered)


def register() -> None:
    """Let Prometheus's registry ask this process's node."""
    REGISTRY.register(NodeCollector())
