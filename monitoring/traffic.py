"""Metrics of what goes in and out: bytes, channels by their namespace, and the SDKs that clients use.

Labels are namespaces of the configuration (`realtime.engine.traffic` has their bound) and a few SDKs (`sdk_labels`);
never a channel or a user.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from flotilla.monitoring.families import counters, gauges, sums
from flotilla.monitoring.node_told import node_told
from flotilla.monitoring.sdk_labels import SdkLabels
from flotilla.realtime.client.states import State
from flotilla.realtime.engine.traffic import MAX_NAMESPACES, NONE, Traffic
from flotilla.realtime.server.traffic import traffic

if TYPE_CHECKING:
    from flotilla.realtime.node.node import Node

NAMESPACE = "channel_namespace"


class TrafficCollector(Collector):
    """What this process has read and written, and for whom."""

    def __init__(self) -> None:
        self._sdks = SdkLabels()

    def describe(self) -> list[Metric]:
        """Nothing in advance, so that registering asks no node."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Each metric with its value now."""
        node = node_told()
        received = {"http": traffic.http_in, "websocket": traffic.websocket_in}
        yield counters("received_bytes", "Bytes read from clients, handshakes as HTTP.", "transport", received)
        sent = {("http", "response"): traffic.http_out, ("websocket", "other"): traffic.websocket_out}
        if node is not None:
            sent |= _sent(node)
        yield sums("sent_bytes", "Bytes written to clients, by what they are.", ("transport", "kind"), sent)
        if node is not None:
            yield from _by_namespace(node)
            yield self._by_sdk(node)

    def _by_sdk(self, node: "Node") -> Metric:
        clients = [client for client in list(node.clients.values()) if client.state is State.CONNECTED]
        counted = self._sdks.counted(Counter((client.name, client.version) for client in clients))
        says = "Connections by the name and version that their clients say."
        return gauges("client_sdk_connections", says, ("sdk", "version"), counted)


def _sent(node: "Node") -> dict[tuple[str, str], int]:
    pushed = sum(one.sent_bytes for one in node.hub.traffic.all().values())
    return {
        ("websocket", "push"): pushed,
        ("websocket", "reply"): node.stats.reply_bytes,
        ("websocket", "ping"): node.stats.ping_bytes,
    }


def _by_namespace(node: "Node") -> Iterator[Metric]:
    configured = [NONE, *node.config.namespaces][:MAX_NAMESPACES]
    found = dict.fromkeys(configured, Traffic()) | node.hub.traffic.all()
    yield counters(
        "publications_in",
        "Publications of this instance's clients.",
        NAMESPACE,
        {name: one.published for name, one in found.items()},
    )
    yield counters(
        "publications_out",
        "Publications written to connections.",
        NAMESPACE,
        {name: one.delivered for name, one in found.items()},
    )
    yield counters(
        "channel_sent_bytes",
        "Bytes of publications, joins and leaves written to connections.",
        NAMESPACE,
        {name: one.sent_bytes for name, one in found.items()},
    )
    subscriptions = {(name,): one.subscriptions for name, one in found.items()}
    yield gauges("subscriptions", "Subscriptions of this instance's connections now.", (NAMESPACE,), subscriptions)


def register() -> None:
    """Let Prometheus's registry ask."""
    REGISTRY.register(TrafficCollector())
