"""Metrics of this process and its node, each with what it counts.

The engine counts as it works and knows nothing of metrics; they are read from it when Prometheus asks, in the
exporter's thread. Labels are bounded: no user, channel, client or raw path, and codes that are not the protocol's own
are "other" or "application", for a client may close with any. Durations are in `durations`, bytes and what goes through
channels in `traffic`, limits in `limits`, webhooks in `webhooks`, the outbox in `outbox`. HTTP metrics are
django-prometheus's (`flotilla.monitoring.middleware`), those of the process (CPU, memory, open files)
prometheus_client's.
"""

import platform
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flotilla.monitoring.durations import error_label
from flotilla.monitoring.families import counter, counters, filled, gauge, gauges, histogram, histograms
from flotilla.monitoring.node_told import node_told
from flotilla.monitoring.outbox import outbox_metrics
from flotilla.monitoring.webhooks import webhook_metrics
from flotilla.realtime import traces
from flotilla.realtime.client.states import TRANSPORTS, State
from flotilla.realtime.engine import recovery
from flotilla.realtime.losses import losses
from flotilla.realtime.protocol.codes import DisconnectCode, ErrorCode
from flotilla.realtime.server.http.answering import responses_waiting
from flotilla.realtime.server.waiting_connections import current_waiting_connections
from flotilla.speedups import IMPLEMENTATION
from flotilla.store import get_store
from flotilla.store.conf import get_store_config
from flotilla.store.supervised import restarts
from flotilla.version import VERSION

if TYPE_CHECKING:
    from flotilla.realtime.node.node import Node

_STANDARD = (1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011)  # RFC 6455, 7.4.1
_KNOWN = {str(int(code)) for code in (*_STANDARD, *DisconnectCode)}
FROM_THE_START = (1000, 1006, *map(int, (DisconnectCode.SHUTDOWN, DisconnectCode.SLOW, DisconnectCode.NO_PONG)))
SIGNALS = ("on_connect", "on_disconnect", "user_joined", "user_left")
LONG = 5.0  # seconds after which a channel that is still not settled is counted


def close_label(code: str) -> str:
    """The `code` label for what the node counted."""
    return code if code in _KNOWN else "other"


class NodeCollector(Collector):
    """The metrics of this process's node; without one, only what is true of every process."""

    def describe(self) -> list[Metric]:
        """Nothing in advance, so that registering asks no node."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Each metric with its value now."""
        node = node_told()
        yield from _readiness()
        yield from _redis()
        yield from _certificates()
        yield _lost_publications()
        yield from _spans()
        yield from outbox_metrics()
        yield counters("task_restarts", "Tasks that failed and were started again, by name.", "task", dict(restarts))
        if node is not None:
            yield from _connections(node)
            yield from _messages(node)
            yield from _publications(node)
            yield from _presence(node)
            yield from _signals(node)
            yield from webhook_metrics(node.webhooks.deliveries)
            yield histogram(
                "event_loop_lag_seconds", "How late the event loop woke up, ten times a second.", node.vitals.lag
            )


def _readiness() -> Iterator[Metric]:
    from flotilla.monitoring.health import watch

    checks = watch.checks
    yield gauge("draining", "1 from when this process was told to end, else 0.", float(watch.draining))
    yield GaugeMetricFamily(
        "app_ready", "1 while this instance should get clients, else 0.", float(all(checks.values()))
    )
    family = GaugeMetricFamily("app_ready_check", "1 while a check of the readiness holds.", labels=["check"])
    for name, holds in checks.items():
        family.add_metric([name], float(holds))
    yield family
    about = {"version": VERSION, "name": get_store_config().instance_id, "python": platform.python_version()}
    about |= {package: _version(package) for package in ("django", "daphne", "channels")}
    about["speedups"] = IMPLEMENTATION
    build = GaugeMetricFamily("flotilla_build_info", "1; the labels say what runs here.", labels=list(about))
    build.add_metric(list(about.values()), 1.0)
    yield build


def _version(package: str) -> str:
    """Of an installed package; "" for one that is not, as Daphne where another server runs."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _redis() -> Iterator[Metric]:
    stats = {str(shard.index): shard.stats for shard in get_store().shards}

    def by_shard(name: str, says: str, attribute: str) -> Metric:
        return counters(name, says, "shard", {index: getattr(one, attribute) for index, one in stats.items()})

    yield by_shard("redis_commands", "Commands sent to Redis.", "commands")
    yield by_shard("redis_unavailable", "Commands given up because Redis did not answer.", "unavailable")
    yield by_shard("redis_refused", "Commands that Redis answered with an error.", "refused")
    yield by_shard("redis_connects", "Command connections made to Redis.", "connects")
    trips = {index: one.round_trip for index, one in stats.items()}
    yield histograms("redis_round_trip_seconds", "From sending a command to its reply.", "shard", trips)
    yield from _redis_memory()


def _redis_memory() -> Iterator[Metric]:
    """Of each Redis that has said so lately; `shard` is "limits" for that of the limits, where it is one of its own."""
    from flotilla.monitoring.memory import memory_watch

    known = dict(memory_watch.known)
    evicting = "1 while Redis may remove keys when it is full (maxmemory-policy is not noeviction)."
    failing = "1 while Redis cannot write its snapshot or its append-only file (INFO persistence)."
    for name, says, values in (
        ("redis_evicting", evicting, {shard: float(memory.evicting) for shard, memory in known.items()}),
        ("redis_memory_used_bytes", "Memory in use.", {shard: memory.used for shard, memory in known.items()}),
        ("redis_memory_max_bytes", "maxmemory; 0: any.", {shard: memory.most for shard, memory in known.items()}),
        ("redis_persistence_failing", failing, {shard: float(memory.failing) for shard, memory in known.items()}),
    ):
        family = GaugeMetricFamily(f"flotilla_{name}", says, labels=["shard"])
        for shard, value in values.items():
            family.add_metric([shard], value)
        yield family
    evicted = {shard: memory.evicted for shard, memory in known.items()}
    yield counters("redis_evicted_keys", "Keys that Redis threw away because it was full.", "shard", evicted)


def _certificates() -> Iterator[Metric]:
    """Of each certificate that is watched; where none is, nothing."""
    from flotilla.monitoring.certificates import certificate_watch

    ends = certificate_watch.ends
    if not ends:
        return
    expiry = GaugeMetricFamily(
        "flotilla_tls_certificate_expiry_timestamp_seconds", "When a certificate ends.", labels=["certificate"]
    )
    readable = GaugeMetricFamily(
        "flotilla_tls_certificate_readable", "1 while a certificate can be read, else 0.", labels=["certificate"]
    )
    for name, end in ends.items():
        readable.add_metric([name], float(end is not None))
        if end is not None:
            expiry.add_metric([name], end)
    yield expiry
    yield readable


def _connections(node: "Node") -> Iterator[Metric]:
    clients = list(node.clients.values())
    yield gauge("connections", "Clients' connections open now.", len(clients))
    by_transport = Counter(client.transport for client in clients)
    values = {(name,): by_transport[name] for name in TRANSPORTS}
    yield gauges("transport_connections", "The same, by how their clients connect.", ("transport",), values)
    yield gauge("users", "Distinct users connected here now.", len(node.users))
    yield gauge("channels", "Channels with a subscriber here now.", len(node.hub.channels))
    family = GaugeMetricFamily(
        "flotilla_channels_not_live",
        "Channels that wait for more than 5 s to be confirmed, or for what is missing, by state.",
        labels=["state"],
    )
    for state, count in node.hub.unsettled(LONG).items():
        family.add_metric([state], count)
    yield family
    waiting = sum(client.socket.unsent for client in clients) + responses_waiting()
    yield gauge("outgoing_waiting_bytes", "Bytes that clients have not taken yet.", waiting)
    yield counter("connections_opened", "Clients' connections accepted.", node.connections_opened)
    admission = node.admission
    yield gauge("admission_peak", "Most clients let in within a second, over the last minute.", admission.peak)
    yield gauge("admission_rate", "Clients a second that this instance says it can let in.", node.admission_rate)
    yield gauge("admission_waiting", "Clients whose handshake waits for a place.", admission.waiting)
    longest = "Seconds for which the oldest such handshake has waited by now."
    yield gauge("admission_longest_wait_seconds", longest, admission.longest_wait)
    yield gauge("admission_silent", "Clients that were let in and have not asked to connect.", admission.silent)
    yield counter("admission_gave_way", "Silent clients that lost their place to another.", admission.gave_way)
    yield counter("admission_refused", "Handshakes refused with 503: too many waited.", admission.refused)
    idle = current_waiting_connections()
    if idle is not None:
        yield gauge("http_waiting", "Connections without a request: new, or idle between two.", idle.size)
        yield counter("http_waiting_closed", "Such connections closed as there were too many.", idle.closed)
    closed = dict(node.connections_closed)
    by_label: Counter[str] = Counter(dict.fromkeys(map(str, FROM_THE_START), 0))
    for code, count in closed.items():
        by_label[close_label(code)] += count
    yield counters("connections_closed", "Connections that ended, by code.", "code", by_label)
    slow = closed.get(str(int(DisconnectCode.SLOW)), 0)
    yield counter("slow_clients_dropped", "Connections ended because they did not read (3008).", slow)


def _messages(node: "Node") -> Iterator[Metric]:
    stats, hub = node.stats, node.hub
    received = filled(node.handlers, stats.commands) | {"pong": stats.pongs}
    yield counters("messages_in", "Messages of clients, by type.", "type", received)
    ended = sum(count for code, count in dict(node.connections_closed).items() if _by_server(code))
    sent = {
        "publication": hub.delivered,
        "join_leave": hub.stats.announced,
        "reply": stats.replies - stats.unsubscribes,
        "unsubscribe": stats.unsubscribes,
        "disconnect": ended,
        "ping": stats.pings,
    }
    yield counters("messages_out", "Messages written to clients, by type.", "type", sent)
    errors: Counter[str] = Counter({str(int(ErrorCode.INTERNAL)): 0, str(int(ErrorCode.TOO_MANY_REQUESTS)): 0})
    for code, count in dict(stats.errors).items():
        errors[error_label(code)] += count
    yield counters("command_errors", "Commands answered with an error, by code.", "code", errors)


def _publications(node: "Node") -> Iterator[Metric]:
    hub = node.hub.stats
    says = "From when Redis took a publication to its last local write."
    yield histogram("delivery_seconds", says, hub.latency, hub.exemplars)
    yield histogram("hub_lag_seconds", "From when Redis took a publication to its arrival here.", hub.lag)
    yield histogram("fan_out_seconds", "From a publication's arrival here to its last local write.", hub.fan_out)
    yield counter("refills", "Gaps of a channel that were looked up in history.", hub.refills)
    yield counter("refilled_publications", "Publications that were handed on from history.", hub.refilled)
    yield counter("positions_lost", "Gaps that history could not fill: subscribers were told.", hub.lost)
    outcomes = filled(recovery.OUTCOMES, node.stats.recoveries)
    family = CounterMetricFamily(
        "flotilla_recoveries",
        "Clients that came back with a position, by what came of it.",
        labels=["outcome", "reason"],
    )
    for reason, count in outcomes.items():
        recovered = reason == "recovered"
        family.add_metric(["recovered" if recovered else "insufficient", "" if recovered else reason], count)
    yield family
    losses = filled(
        (shard.index for shard in node.store.shards),
        {shard.index: shard.partitions.changes for shard in node.store.shards if shard.partitions is not None},
    )
    lost = "Partitions whose streams were begun again, as Redis had lost something."
    yield counters("redis_losses", lost, "shard", losses)
    reconnects = filled((shard.index for shard in node.store.shards), node.stats.pubsub_reconnects)
    yield counters("pubsub_reconnects", "Pub/sub connections that were made again.", "shard", reconnects)


def _spans() -> Iterator[Metric]:
    """Of traces; 0 where tracing is off."""
    ended, dropped = traces.counted()
    yield counter("spans", "Spans that were given to the tracer provider.", ended)
    yield counter("spans_dropped", "Spans that were not, as the provider was late or failed.", dropped)


def _lost_publications() -> Metric:
    says = "Publications given up because of Redis, of which nobody was told by an error, by what it did."
    return counters("publications_lost", says, "reason", dict(losses.by_reason))


def _presence(node: "Node") -> Iterator[Metric]:
    users, members = node.presence.entered()
    entries = "Presence entries of this instance's connections."
    family = GaugeMetricFamily("flotilla_presence_members", entries, labels=["scope"])
    family.add_metric(["user"], users)
    family.add_metric(["channel"], members)
    yield family
    registered = sum(client.state is State.CONNECTED for client in list(node.clients.values()))
    yield gauge("presence_drift", "Connections without an entry, or entries without one.", abs(registered - users))
    if node.vitals.leases is not None:
        yield gauge("leases", "Instances that hold a lease, as this one sees it.", node.vitals.leases)
    yield gauge("lease_held", "1 while this instance holds its lease.", float(node.presence.alive))
    reaped = filled(("user", "channel"), node.stats.reaped)
    yield counters("presence_reaped", "Entries of dead instances that this one removed.", "scope", reaped)


def _signals(node: "Node") -> Iterator[Metric]:
    queue = node.lifecycle.receivers
    waiting = queue.waiting + node.presence.ends.waiting
    yield gauge("signals_waiting", "Calls of signal receivers that have not begun, those left in Redis too.", waiting)
    yield gauge("signals_lag_seconds", "How long the oldest call of a signal's receivers has waited.", queue.lag)
    for name, says, counted in (
        ("signal_calls", "Signals sent to receivers.", queue.calls),
        ("signal_failures", "Receivers of a signal that raised.", queue.failures),
        ("signal_slow", "Receivers of a signal that took longer than they should.", queue.slow),
    ):
        yield counters(name, says, "signal", filled(SIGNALS, counted))


def _by_server(code: str) -> bool:
    return code == "application" or (code.isdigit() and int(code) >= 3000)


def register() -> None:
    """Let Prometheus's registry ask this process's node."""
    REGISTRY.register(NodeCollector())
