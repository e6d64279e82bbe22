"""HAProxy's own view, as the shipped configuration gives it to Prometheus: what rules ask of it is there, and moves."""

import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.support.balancer import Balancer
from tests.cluster.support.processes import ROOT, wait_until

RULES = (ROOT / "monitoring" / "prometheus" / "rules" / "haproxy.yml").read_text()
Samples = dict[tuple[str, str, str, str], float]  # by metric, proxy, server and code


@pytest.fixture
def balancer(tmp_path: Path) -> Balancer:
    """One before an instance that is not there."""
    return Balancer(tmp_path, [1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def read(port: int) -> Samples:
    """What it tells Prometheus; counters under their full names."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    return {
        (one.name, *(one.labels.get(label, "") for label in ("proxy", "server", "code"))): one.value
        for family in families
        for one in family.samples
    }


def test_rules_find_what_they_ask_for_and_an_outage_shows(balancer: Balancer) -> None:
    """No server is up, and 5xx that no instance answered are counted as its own."""
    balancer.launch()
    try:
        wait_until(lambda: listens(balancer.watched_at), "it tells Prometheus")
        up = ("haproxy_backend_active_servers", "websockets", "", "")
        wait_until(lambda: read(balancer.watched_at)[up] == 0, "it takes the instance for down")
        before = read(balancer.watched_at)
        asked = set(re.findall(r"\bhaproxy_\w+(?=\{)", RULES))
        assert asked and asked <= {name for name, *_ in before}
        for _ in range(3):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(balancer.http, timeout=30)
            assert refused.value.code == 503
        own = ("haproxy_frontend_http_responses_total", "public", "", "5xx")
        wait_until(lambda: read(balancer.watched_at)[own] == before[own] + 3, "its own answers are counted")
        after = read(balancer.watched_at)
        servers = [key for key in after if key[0] == "haproxy_server_http_responses_total" and key[3] == "5xx"]
        assert {key[1] for key in servers} == {"websockets", "streams", "pages"}
        assert all(after[key] == before[key] for key in servers)
    finally:
        balancer.stop()
