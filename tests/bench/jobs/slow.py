"""Slow readers: clients that stop reading must be dropped at their bound, and nobody else may notice.

The same publications go to ten clients, first alone, then beside ten that read nothing; 400 KB a second for each, which
even stock Channels can send. The kernel holds some 4 MB for each of the slow before the server has to. A client that
reads nothing cannot see why it is closed: what the server says that it did is asked of the server.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.bench.jobs.base import Job, Plan, Stage
from tests.bench.load import Figures, payload
from tests.bench.servers.base import Shape

READERS = 10
SLOW = 10
RATE = 50  # publications a second
SIZE = 8_192  # bytes of each
DISCONNECT_SLOW = 3008
RECEIVE_BUFFER = 4_096  # of the slow, so that it is the server that has to hold what they do not read


def hall(_: Plan) -> Shape:
    """One room, large messages."""
    return Shape(message=payload(SIZE))


def slow_reader(stage: Stage) -> Figures:
    """Latency of the readers without and with the slow; memory before, at most, and after; how the slow ended."""
    seconds = 4.0 if stage.plan.quick else 20.0
    stage.load.connect(READERS)
    stage.run(1, rate=RATE)
    alone = stage.run(seconds, rate=RATE)
    before = stage.meter.resident()
    stage.load.connect(SLOW, muted=1, receive_buffer=RECEIVE_BUFFER)
    with _highest(stage) as highest:
        beside = stage.run(seconds, rate=RATE)
    stage.meter.wait_quiet()
    after, still_open = stage.meter.resident(), _open_connections(stage) - READERS
    ends = stage.load.tell("unmute", within=60)
    codes = Counter(ends["codes"])
    dropped = stage.server.closed_with(DISCONNECT_SLOW)
    stage.plan.say(f"the slow saw close codes {dict(codes)}, {ends['still_open']} still open")
    return {
        "p99_alone_ms": alone["latency"]["p99"] / 1000,
        "p99_ms": beside["latency"]["p99"] / 1000,
        "p99_ratio": beside["latency"]["p99"] / max(alone["latency"]["p99"], 1),
        "p50_ratio": beside["latency"]["p50"] / max(alone["latency"]["p50"], 1),
        "lost": alone["lost"] + beside["lost"],
        "grown_mb": (max(highest) - before) / 2**20,
        "kept_mb": (after - before) / 2**20,
        "still_open": still_open,
        "dropped_3008": dropped,
        "sent_mb": beside["published"] * SIZE * SLOW / 2**20,
    }


@contextmanager
def _highest(stage: Stage) -> Iterator[list[int]]:
    """Looks at the server's memory ten times a second while the block runs."""
    seen, over = [stage.meter.resident()], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            seen.append(stage.meter.resident())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _open_connections(stage: Stage) -> int:
    """How many clients' connections the server holds."""
    ports = set(stage.server.ports)
    held = [one for process in stage.meter.processes() for one in process.net_connections(kind="tcp4")]
    return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port in ports for one in held)


JOBS = (
    Job(
        name="slow",
        title=f"Slow readers: {SLOW} stop reading beside {READERS} that read; {RATE} × {SIZE >> 10} KB a second",
        servers=("flotilla", "socketio", "ws", "nchan", "stock-pubsub"),
        shape=hall,
        measure=slow_reader,
        headline="grown_mb",
        columns={
            "p99_alone_ms": "p99 alone, ms",
            "p99_ms": "p99 beside, ms",
            "p99_ratio": "p99, times",
            "grown_mb": "memory grew by, MB",
            "kept_mb": "and kept, MB",
            "dropped_3008": "dropped with 3008",
            "still_open": "still open",
            "lost": "lost by readers",
        },
        more_is_better=False,
    ),
)
