"""The metrics port in a planned end: bound without a gap, and what drains is seen until it has ended."""

import asyncio
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.support.harness import CONFIG, Cluster, Served, running
from tests.cluster.support.processes import PATIENCE, eventually
from tests.cluster.support.raw_client import RawClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

EVERY = 0.1  # seconds between two scrapes: a regular reader, as Prometheus is one
GRACE = 2  # seconds of a drain in which an instance still serves
READY = "app_ready 1.0"
DRAINING = 'flotilla_draining{pid="%d",process="draining"} 1.0'


class Reader:
    """Reads the metrics again and again; keeps every answer, "" for one that did not come."""

    def __init__(self, port: str) -> None:
        self.answers: list[str] = []
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                with urllib.request.urlopen(self._url, timeout=PATIENCE) as response:
                    self.answers.append(response.read().decode())
            except OSError:
                self.answers.append("")

    @contextmanager
    def reading(self) -> Iterator["Reader"]:
        """For the time of a block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def lines(self, beginning: str) -> list[str]:
        """Those that begin so, of all answers."""
        return [line for answer in self.answers for line in answer.splitlines() if line.startswith(beginning)]


async def test_a_rolling_restart_leaves_no_gap_and_hides_no_drain(tmp_path: Path) -> None:
    """The successor has the port from the drain's first moment on, and tells the figures of both."""
    served = Served(tmp_path, CONFIG, instances=1, DRAIN_GRACE=str(GRACE))
    served.start()
    try:
        (old,) = served.pids().values()
        with Reader(served.env["METRICS_PORT"]).reading() as reader:
            await eventually(lambda: READY in "".join(reader.answers), "it is ready")
            before = len(reader.answers)
            async with RawClient(served.url) as client:
                await client.connect("ann")
                served.send(signal.SIGHUP)
                assert await client.closed(3 * PATIENCE) == (3001, "shutdown")
            await eventually(lambda: "every instance was replaced" in served.tail(), "it is over", 3 * PATIENCE)
            since = len(reader.answers)
            await eventually(lambda: len(reader.answers) > since + 3, "it is read afterwards")
    finally:
        served.stop()
    assert all(reader.answers), "a scrape went unanswered"
    successor = next(n for n, answer in enumerate(reader.answers) if DRAINING % old in answer)
    for number, answer in enumerate(reader.answers[before:], before):  # one serves at any time, or says why not
        assert READY in answer or (number < successor and "flotilla_draining 1.0" in answer), answer
    of_old = [answer for answer in reader.answers if DRAINING % old in answer]
    assert f'flotilla_connections_closed_total{{code="3001",pid="{old}",process="draining"}} 1.0' in of_old[-1], (
        "the end"
    )
    assert all(answer.count("# TYPE flotilla_connections gauge") == 1 for answer in reader.answers)
    assert not any('process="draining"' in answer for answer in reader.answers[since:]), "it has ended"
    assert not any(line.startswith("app_ready{") for line in reader.lines("app_ready")), "its readiness is nobody's"


async def test_a_planned_stop_is_told_to_its_end(tmp_path: Path) -> None:
    """By the process itself, where it has no successor; and it waits for who reads regularly."""
    cluster = Cluster(tmp_path, CONFIG, "flotilla", DRAIN_GRACE=str(GRACE))
    with running(cluster), Reader(cluster.env["METRICS_PORT"]).reading() as reader:
        await eventually(lambda: READY in "".join(reader.answers), "it is ready")
        async with RawClient(cluster[0].url) as client:
            await client.connect("ann")
            cluster[0].send(signal.SIGTERM)
            assert await client.closed() == (3001, "shutdown")
        assert await asyncio.to_thread(cluster[0].wait) == 0
    told = [answer for answer in reader.answers if answer]
    assert "flotilla_draining 0.0" in told[0]
    draining = [answer for answer in told if "flotilla_draining 1.0" in answer]
    assert len(draining) > 3
    for answer in draining:
        assert "app_ready 0.0" in answer and 'app_ready_check{check="accepting"} 0.0' in answer
        assert 'app_ready_check{check="redis"} 1.0' in answer and 'app_ready_check{check="loop"} 1.0' in answer
    assert 'flotilla_connections_closed_total{code="3001"} 1.0' in draining[-1]
    assert "flotilla_connections 0.0" in draining[-1]


async def test_who_reads_now_and_then_is_not_waited_for(tmp_path: Path) -> None:
    """An instance that nobody watches ends at once."""
    with running(Cluster(tmp_path, CONFIG, "flotilla")) as cluster:
        url = f"http://127.0.0.1:{cluster.env['METRICS_PORT']}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            assert response.status == 200
        began = time.monotonic()
        cluster[0].send(signal.SIGTERM)
        assert await asyncio.to_thread(cluster[0].wait) == 0
        assert time.monotonic() - began < 10
