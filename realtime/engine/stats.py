"""What this process counts of its own work: the engine and the clients write it, `monitoring` reads it.

A publication is counted once in a process, not once for each socket, so that counting costs little. Its age is measured
from Redis's stamp (`clocks`); one without a stamp, from an older instance, is counted without an age.
"""

import time
from collections import Counter, defaultdict
from functools import partial

from flotilla.realtime.engine.clocks import RedisClocks
from flotilla.store import Store, placement_of
from flotilla.store.stats import Exemplar, Histogram

COMMAND_TIMES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 4.0)  # seconds; a command has 4


class HubStats:
    """Publications through the hub. Histograms in seconds: `lag` publish → received, `fan_out` received → written to
    every local socket, `latency` both together."""

    __slots__ = (
        "_alone",
        "_store",
        "announced",
        "clocks",
        "exemplars",
        "fan_out",
        "lag",
        "latency",
        "lost",
        "refilled",
        "refills",
    )

    def __init__(self, store: Store) -> None:
        self._store = store
        self._alone = len(store.shards) == 1
        self.clocks = RedisClocks(len(store.shards))
        self.lag = Histogram()
        self.fan_out = Histogram()
        self.latency = Histogram()
        self.exemplars: dict[int, Exemplar] = {}  # by the index of the bucket of `latency`
        self.announced = 0  # joins and leaves written to connections
        self.refills = 0  # gaps for which history was read
        self.refilled = 0  # publications that came from there
        self.lost = 0  # gaps that history could not fill

    def delivered(self, channel: str, stamp: int | None, received: float, written: float) -> None:
        """A publication that Redis stamped (µs since 1970) was received and written at these moments (monotonic)."""
        spent = written - received
        self.fan_out.observe(spent)
        ahead = self.clocks.ahead[0 if self._alone else self.shard_of(channel)]
        if stamp is None or ahead is None:
            return
        lag = received - stamp * 1e-6 + ahead
        if lag < 0.0:
            lag = 0.0  # the clocks are known to half a round trip
        self.lag.observe(lag)
        self.latency.observe(lag + spent)

    def shard_of(self, channel: str) -> int:
        """The index of a channel's Redis, by which `clocks` has it."""
        return self._store.shard_for(placement_of(channel)).index

    def exemplify(self, trace_id: str, latency: float) -> None:
        """A delivery that took so long is explained by a trace: the newest of each bucket of `latency` is kept."""
        self.exemplars[self.latency.bucket(latency)] = Exemplar(trace_id, latency, time.time())


class NodeStats:
    """What clients ask for and get, beside publications. Every label is one of a fixed few.

    `durations`: seconds from a command's arrival to its answer, the wait behind other commands included.
    """

    def __init__(self) -> None:
        self.commands: Counter[str] = Counter()  # by method
        self.errors: Counter[int] = Counter()  # by code of the answer
        self.recoveries: Counter[str] = Counter()  # by what came of it, see `recovery`
        self.reaped: Counter[str] = Counter()  # entries of dead instances, by kind of scope
        self.pubsub_reconnects: Counter[int] = Counter()  # by shard
        self.durations: dict[str, Histogram] = defaultdict(partial(Histogram, COMMAND_TIMES))  # by method
        self.pongs = 0
        self.pings = 0
        self.ping_bytes = 0
        self.replies = 0
        self.reply_bytes = 0  # of replies, and of pushes to one connection alone
        self.unsubscribes = 0
