"""Metrics of where time goes: commands of clients, methods of the HTTP API, the project's hooks, the database.

Each is counted where it happens and read here when Prometheus asks. Labels are commands, methods, databases and hooks
of the configuration, and codes of the protocol.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from flotilla.monitoring import database
from flotilla.monitoring.families import counters, filled, histograms, sums
from flotilla.monitoring.node_told import node_told
from flotilla.realtime.access import hook_stats as hook_calls
from flotilla.realtime.access.hook_stats import hook_stats
from flotilla.realtime.access.hooks import name_of
from flotilla.realtime.api import stats as api
from flotilla.realtime.api.stats import api_stats
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.engine.stats import COMMAND_TIMES
from flotilla.realtime.protocol.codes import ErrorCode
from flotilla.store.stats import Histogram

if TYPE_CHECKING:
    from flotilla.realtime.node.node import Node

_ERRORS = {int(code) for code in ErrorCode}
INTERNAL = str(int(ErrorCode.INTERNAL))


def error_label(code: int) -> str:
    """The `code` label of an error: a project may answer with codes of its own."""
    return str(int(code)) if code in _ERRORS else "application"


class DurationsCollector(Collector):
    """The times of this process's work."""

    def describe(self) -> list[Metric]:
        """Nothing in advance, so that registering asks nobody."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Each metric with its value now."""
        node = node_told()
        if node is not None:
            yield _commands(node)
        yield from _api()
        yield from _hooks(() if node is None else _configured_hooks(node.config))
        yield from _database()


def _commands(node: "Node") -> Metric:
    says = "From the arrival of a client's command to its answer, the wait behind its other commands included."
    times = dict.fromkeys(node.handlers, Histogram(COMMAND_TIMES)) | dict(node.stats.durations)
    return histograms("command_duration_seconds", says, "command", times)


def _api() -> Iterator[Metric]:
    from flotilla.realtime.api.methods import METHODS

    times = dict.fromkeys(METHODS, Histogram(api.TIMES)) | dict(api_stats.durations)
    yield histograms("api_duration_seconds", "Calls of the HTTP API, each part of a batch by itself.", "method", times)
    errors: Counter[tuple[str, ...]] = Counter({(method, INTERNAL): 0 for method in METHODS})
    for (method, code), count in dict(api_stats.errors).items():
        errors[method, error_label(code)] += count
    yield sums("api_errors", "Errors in answers of the HTTP API, by method and code.", ("method", "code"), errors)


def _configured_hooks(config: RealtimeConfig) -> tuple[str, ...]:
    hooks = [config.authenticate]
    for _, options in config.scopes():
        hooks += [options.subscribe_permission, options.publish_permission]
    return tuple(dict.fromkeys(name_of(hook) for hook in hooks if hook is not None))[: hook_calls.MAX_HOOKS]


def _hooks(configured: tuple[str, ...]) -> Iterator[Metric]:
    times = dict.fromkeys(configured, Histogram(hook_calls.TIMES)) | dict(hook_stats.times)
    says = "Calls of the project's permission and authentication hooks, by the hook's name."
    yield histograms("permission_duration_seconds", says, "hook", times)
    says = "What hooks answered; failed: raised, was too late, or gave no answer that means anything."
    answers = filled(product(times, hook_calls.OUTCOMES), hook_stats.outcomes)
    yield sums("permission_answers", says, ("hook", "outcome"), answers)


def _database() -> Iterator[Metric]:
    stats = database.database_stats
    says = "Queries of this process, by database; what a view, a hook or a session asks."
    yield histograms("database_duration_seconds", says, "database", dict(stats.times))
    yield counters("database_errors", "Queries that raised an error.", "database", dict(stats.errors))
    yield counters("database_connects", "Connections made to the database.", "database", dict(stats.connections))


def register() -> None:
    """Let Prometheus's registry ask; from now on the database's time is taken."""
    database.register()
    REGISTRY.register(DurationsCollector())
