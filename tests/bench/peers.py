"""The peers of the bench in short, each on its real server: `make test-peers`. Needs Go and Node."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.bench.catalogue import JOBS, SERVERS
from tests.bench.jobs.base import Plan, Stage, served, staged_on
from tests.bench.machine import Cores
from tests.bench.servers.base import Shape

pytestmark = pytest.mark.timeout(1800)  # with the first compilation

PLAN = Plan(quick=True, say=print)


@contextmanager
def stage(name: str, shape: Shape) -> Iterator[Stage]:
    kind = SERVERS[name]
    if reason := kind.missing():
        pytest.fail(reason)
    with served(kind, shape, Cores(kind.processes)) as server, staged_on(server, PLAN) as one:
        yield one


@pytest.mark.parametrize("name", ["centrifuge", "nats", "socketio"])
@pytest.mark.parametrize("job", ["publish", "churn", "fanout-500", "storm-2000"])
def test_a_peer_does_the_job(name: str, job: str) -> None:
    with stage(name, JOBS[job].shape(PLAN)) as one:
        figures = JOBS[job].measure(one)
    assert figures["us_each"] > 0
    assert not figures.get("lost") and not figures.get("complaint")


@pytest.mark.parametrize("job", ["recovery", "joins", "presence", "api-publish", "api-batch"])
def test_the_peer_on_the_library_does_what_ours_does(job: str) -> None:
    with stage("centrifuge", JOBS[job].shape(PLAN)) as one:
        assert JOBS[job].measure(one)[JOBS[job].headline] > 0


@pytest.mark.parametrize("name", ["centrifuge-tls", "socketio-tls"])
def test_a_peer_speaks_tls(name: str) -> None:
    with stage(name, JOBS["tls"].shape(PLAN)) as one:
        one.ensure(20)
        figures = one.run(10, window=20, publications=300)
    assert figures["received"] == figures["expected"] == 300 * 20


@pytest.mark.parametrize("name", ["centrifuge-2", "socketio-2"])
def test_the_processes_of_a_peer_reach_each_other(name: str) -> None:
    with stage(name, JOBS["processes"].shape(PLAN)) as one:
        one.ensure(20)
        figures = one.run(10, window=20, publications=300)
    assert figures["received"] == figures["expected"] == 300 * 20


def test_the_peer_keeps_what_ours_keeps() -> None:
    """A hundred publications of a channel for five minutes, and who is present."""
    with stage("centrifuge", JOBS["publish"].shape(PLAN)) as one:
        one.ensure(5)
        one.run(20, window=50, publications=600)
        with redis.Redis(port=one.server.redis.port) as store:
            (stream,) = store.scan_iter("centrifuge.stream.bench:0", count=1000)
            assert store.xlen(stream) == 100
            assert 0 < store.ttl(stream) <= 300
            assert len(list(store.scan_iter("centrifuge.presence*", count=1000))) >= 5
