"""A node on a private Redis, and what Prometheus would read of it."""

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flotilla.monitoring.durations import DurationsCollector
from flotilla.monitoring.metrics import NodeCollector
from flotilla.monitoring.traffic import TrafficCollector
from flotilla.realtime.node import node as node_module
from flotilla.realtime.node.node import Node
from tests.realtime.client.nodes import configured, node
from tests.store.fixtures import mortal_redis, redis_process, redis_url, shared_redis, store

__all__ = ["configured", "mortal_redis", "node", "redis_process", "redis_url", "shared_redis", "store"]


@pytest.fixture
def scrape(node: Node, monkeypatch: pytest.MonkeyPatch) -> Callable[..., float | None]:
    """Gives a sample's value as Prometheus would read it now, by its name and labels."""
    monkeypatch.setattr(node_module, "_node", (node_module.os.getpid(), node))
    registry = CollectorRegistry()
    for collector in (NodeCollector(), DurationsCollector(), TrafficCollector()):
        registry.register(collector)

    def value(name: str, **labels: str) -> float | None:
        text = generate_latest(registry).decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        found = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
        assert len(found) <= 1, f"{name} {labels} is there {len(found)} times"
        return found[0] if found else None

    return value
