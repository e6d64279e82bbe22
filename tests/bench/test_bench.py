"""The bench must not rot, and its load client must not lie: it counts, and sees delay, loss and repeats."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.bench import native
from tests.bench.jobs.base import set_up
from tests.bench.load import Figures, LoadClient, LoadError, payload
from tests.bench.machine import Cores, Meter
from tests.bench.servers.base import Publishing, Shape
from tests.bench.servers.floor import CFloor
from tests.cluster.support.processes import ROOT, free_port, wait_until

UNCONNECTED = {"dialect": "raw", "ports": 1, "path": b"/".hex(), "hello": ""}  # set up, but nobody is to connect


@pytest.fixture(autouse=True)
def compiler() -> None:
    """Everything here is compiled first."""
    if reason := native.missing():
        pytest.skip(reason)


@contextmanager
def floor(home: Path, *words: str, shape: Shape | None = None) -> Iterator[LoadClient]:
    """A client that is set up for a C floor, with or without faults."""
    server = CFloor(home, shape or Shape(message=payload()), Cores())
    server.words = words
    server.start()
    try:
        with LoadClient() as load:
            set_up(load, server)
            yield load
    finally:
        server.stop()


def test_every_delivery_is_counted_at_a_known_rate(tmp_path: Path) -> None:
    with floor(tmp_path) as load:
        load.connect(30)
        figures = load.run(1, rate=200)
    assert figures["published"] == 200
    assert figures["expected"] == figures["received"] == figures["latency"]["count"] == 200 * 30
    assert _faults(figures) == {}


def test_a_flood_keeps_its_window_and_counts(tmp_path: Path) -> None:
    with floor(tmp_path, "join") as load:
        load.connect(30)
        figures = load.run(1, window=20)
    assert figures["published"] > 20
    assert figures["received"] == figures["published"] * 30
    assert _faults(figures) == {}


def test_members_of_small_rooms_hear_each_other_and_nobody_else(tmp_path: Path) -> None:
    with floor(tmp_path, shape=Shape(rooms=8, members=5, by_clients=True, message=payload())) as load:
        load.connect(40)
        figures = load.run(1, rate=400)
    assert figures["received"] == figures["expected"] == 400 * 5
    assert _faults(figures) == {}


def test_a_server_that_waits_shows_in_every_percentile(tmp_path: Path) -> None:
    with floor(tmp_path, "delay", "30") as load:
        load.connect(5)
        figures = load.run(1, rate=10)
    assert figures["received"] == 50
    assert 30_000 <= figures["latency"]["p50"] <= figures["latency"]["p99"] <= figures["latency"]["max"]


def test_time_spent_in_a_queue_counts_from_the_intended_moment(tmp_path: Path) -> None:
    """100 a second at 20 ms each: the last has waited for half of the run, though the client was never late."""
    with floor(tmp_path, "delay", "20") as load:
        load.connect(5)
        figures = load.run(1, rate=100, drain=5)
    assert figures["received"] == 500
    assert figures["latency"]["max"] >= 900_000


def test_a_client_that_is_late_itself_counts_from_the_intended_moment(tmp_path: Path) -> None:
    """Stopped for 0.3 s in the middle of its run, it catches up, and hides nothing of the time it lost."""
    with floor(tmp_path) as load, ThreadPoolExecutor() as pool:
        load.connect(5)
        client = psutil.Process(load.pid)
        before = Meter([load.pid]).cpu()
        running = pool.submit(load.run, 2, rate=500)
        wait_until(lambda: Meter([load.pid]).cpu() > before + 0.003, "the client publishes")
        client.suspend()
        stopped = time.monotonic()
        wait_until(lambda: time.monotonic() - stopped > 0.3, "time passes")
        client.resume()
        figures = running.result()
    assert figures["published"] == 1000
    assert figures["slip"] >= 250_000
    assert figures["latency"]["max"] >= 250_000
    assert figures["latency"]["p90"] >= 30_000  # a seventh of all was due while it stood still


def test_what_is_lost_is_counted(tmp_path: Path) -> None:
    with floor(tmp_path, "lose", "10") as load:
        load.connect(5)
        figures = load.run(1, rate=100, drain=0.5)
    assert _faults(figures) == {"lost": 10 * 5, "gaps": 9 * 5}  # the last one leaves no gap behind it


def test_what_comes_twice_is_counted(tmp_path: Path) -> None:
    with floor(tmp_path, "repeat", "9") as load:
        load.connect(5)
        figures = load.run(1, rate=100)
    assert _faults(figures) == {"late": 11 * 5}
    assert figures["received"] == 500


@contextmanager
def endpoint(answer: bytes) -> Iterator[int]:
    """The port of one that answers whatever comes with these bytes, each in a packet of its own."""

    def serve() -> None:
        with listener.accept()[0] as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while link.recv(65536):
                for byte in answer:
                    link.send(bytes([byte]))

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        served = pool.submit(serve)
        yield listener.getsockname()[1]
        served.result(10)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (b"*4\r\n$3\r\n-ab\r\n:1\r\n:0\r\n:1\r\n", False),
        (b"$5\r\n\r\n-ab\r\n$0\r\n\r\n$-1\r\n:2\r\n", False),
        (b"+OK\r\n-ERR no room\r\n", True),
        (b"$3\r\n-ab\r\n-ERR no room\r\n", True),
    ],
)
def test_a_refusal_is_a_line_and_not_part_of_a_string(answer: bytes, refused: bool) -> None:
    """An epoch may begin with a hyphen, as a refusal does."""
    with endpoint(answer) as port, LoadClient() as load:
        load.tell("setup", UNCONNECTED)
        load.publish_through(Publishing(port=port, template=b"*1\r\n$4\r\nPING\r\n"))
        figures = load.run(1, rate=20)
    assert figures["published"] == 20
    assert (figures["errors"] > 0) == refused, figures["complaint"]


def test_clients_that_cannot_join_are_an_error() -> None:
    with LoadClient() as load:
        load.tell("setup", UNCONNECTED | {"ports": free_port()})
        with pytest.raises(LoadError, match="0 of 3 clients could join: connect: Connection refused"):
            load.connect(3, within=5)


def test_a_quick_run_measures_flotilla_beside_the_floor(tmp_path: Path) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on the PATH")
    words = ["--only", "fanout-500", "--servers", "flotilla,cfloor", "--quick", "--into", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.run", *words], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["medians"]["fanout-500"]) == {"flotilla", "cfloor"}
    for figures in results["medians"]["fanout-500"].values():
        assert figures["flood"] > 0
        assert figures["flood_lost"] == 0
    assert "C epoll loop, one send per delivery" in (tmp_path / "table.md").read_text()


def _faults(figures: Figures) -> dict[str, int]:
    return {name: figures[name] for name in ("lost", "gaps", "late", "errors", "dropped") if figures[name]}
