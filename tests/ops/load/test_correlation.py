"""The server's own p95 from a real Prometheus and from the instances, as a load run sets it beside the clients'."""

import shutil
from collections.abc import Iterator

import pytest

from flotilla.ops.drill.load import Load
from flotilla.ops.drill.processes import wait_for
from flotilla.ops.drill.stack import Stack
from flotilla.ops.load import server_side
from flotilla.ops.prometheus_api import Unreachable

WITHIN = 60.0


@pytest.fixture
def stack() -> Iterator[Stack]:
    """An installation with a Prometheus, under even load."""
    for name in ("prometheus", "prometheus-alertmanager", "redis-server"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name} on the PATH")
    with Stack() as running:
        load = Load(running)
        load.start()
        yield running
        load.stop()


def test_the_server_s_p95_is_had_from_prometheus_and_from_the_instances(stack: Stack) -> None:
    urls = [f"http://{stack.target(number)}/metrics" for number in range(2)]
    assert all(server_side.is_ready(url) for url in urls)
    before = server_side.buckets(urls)
    wait_for(lambda: server_side.p95(before, server_side.buckets(urls)), "the instances have delivered", WITHIN)
    told = wait_for(lambda: server_side.from_prometheus(stack.prometheus.url, 30), "Prometheus knows of it", WITHIN)
    assert 0 < told < 10_000
    with pytest.raises(Unreachable):
        server_side.from_prometheus("http://127.0.0.1:9", 30)
    assert not server_side.is_ready("http://127.0.0.1:9/metrics")
