"""Django's pages beside sockets: the same process serves both, and neither may starve the other."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from statistics import quantiles

from tests.bench.jobs.base import Job, Plan, Stage
from tests.bench.load import Figures, payload
from tests.bench.pages.urls import PATH, ROWS
from tests.bench.servers.base import Shape

READERS = 4  # that ask for one page after the other
ROOM = 50
RATE = 40  # publications a second: 2,000 deliveries


def rooms_of_fifty(plan: Plan) -> Shape:
    """2,000 sockets in rooms of 50, whose first member publishes."""
    rooms = plan.size(2_000, 200) // ROOM
    return Shape(rooms=rooms, members=ROOM, by_clients=True, first_only=True, message=payload())


def pages(stage: Stage) -> Figures:
    """Pages without publications, publications without pages, then both. Raises AssertionError for a wrong page."""
    shape, seconds = stage.server.shape, stage.plan.seconds(6)
    stage.ensure(shape.rooms * shape.members)
    with _readers(stage) as warm:
        warm.sleep(stage.plan.seconds(2))
    before = stage.meter.cpu()
    with _readers(stage) as alone:
        alone.sleep(seconds)
    page_cpu = stage.meter.cpu() - before
    stage.run(1, rate=RATE)
    quiet = stage.run(seconds, rate=RATE)
    with _readers(stage) as beside:
        busy = stage.run(seconds, rate=RATE)
    return {
        "per_second": beside.rate,
        "page_p99_ms": beside.p99_ms,
        "alone_per_second": alone.rate,
        "alone_p99_ms": alone.p99_ms,
        "us_each": page_cpu / max(len(alone.times), 1) * 1e6,
        "p99_quiet_ms": quiet["latency"]["p99"] / 1000,
        "p99_ms": busy["latency"]["p99"] / 1000,
        "lost": quiet["lost"] + busy["lost"],
    }


class Readers:
    """Threads that ask for the page again and again; `times` are seconds of each."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self._began = time.monotonic()
        self._took = 0.0
        self._faults: list[Exception] = []
        self.times: list[float] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(READERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def sleep(self, seconds: float) -> None:
        """Let them read for a while."""
        self._over.wait(seconds)

    def stop(self) -> None:
        """End them; raises what one of them met."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._took = time.monotonic() - self._began
        if self._faults:
            raise self._faults[0]

    @property
    def rate(self) -> float:
        """Pages a second."""
        return len(self.times) / self._took

    @property
    def p99_ms(self) -> float:
        """In milliseconds."""
        return quantiles(self.times, n=100, method="inclusive")[98] * 1000

    def _run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            while not self._over.is_set():
                began = time.perf_counter()
                connection.request("GET", PATH)
                response = connection.getresponse()
                text = response.read()
                self.times.append(time.perf_counter() - began)
                if response.status != 200 or text.count(b"<tr") != ROWS:
                    raise AssertionError(f"{response.status}: {text[:200]!r}")
        except Exception as error:  # told by `stop`, to whoever measures
            self._faults.append(error)
        finally:
            connection.close()


@contextmanager
def _readers(stage: Stage) -> Iterator[Readers]:
    readers = Readers(stage.server.ports[0])
    readers.start()
    try:
        yield readers
    finally:
        readers.stop()


JOBS = (
    Job(
        name="pages",
        title=f"Django's pages beside 2,000 sockets with {RATE * ROOM:,} deliveries a second, {READERS} ask for pages",
        servers=("flotilla-pages", "stock-pubsub"),
        shape=rooms_of_fifty,
        measure=pages,
        headline="per_second",
        columns={
            "per_second": "pages/s",
            "page_p99_ms": "p99 of a page, ms",
            "alone_per_second": "pages/s, nothing published",
            "alone_p99_ms": "its p99, ms",
            "us_each": "CPU µs of a page",
            "p99_ms": "p99 of a delivery, ms",
            "p99_quiet_ms": "p99 without pages, ms",
            "lost": "lost",
        },
        baseline="flotilla-pages",
    ),
)
