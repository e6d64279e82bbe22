"""What counting costs the hub: the same publications with and without it, alternating, over a real Redis.

    python -m tests.monitoring.bench_counting [SUBSCRIBERS …]

Prints what counting costs by itself, then the CPU time of this process per publication (lower quartile of the rounds)
and the difference. Deliveries are written to socket pairs; a publication that nobody else shares is the worst case.
"""

import asyncio
import os
import socket
import statistics
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from flotilla.realtime.engine.stats import HubStats, NodeStats  # noqa: E402
from flotilla.realtime.engine.subscription import Subscription  # noqa: E402
from flotilla.realtime.engine.traffic import TrafficByNamespace  # noqa: E402
from flotilla.realtime.protocol.frames import Frame  # noqa: E402
from tests.realtime.engine.processes import OPTIONS, Process  # noqa: E402
from tests.store.redis_process import RedisProcess, until  # noqa: E402

ROUNDS = 12
DELIVERIES = 6000  # a round, at least; publications: at least 300


class Wire:
    """A subscriber whose frames go into a socket and are read again."""

    def __init__(self) -> None:
        self.socket = self
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._unread = 0
        self.descriptor = -1
        self.waiting = 0
        self.busy = False

    def send(self, frame: Frame) -> None:
        self._ours.send(frame.wire)
        self._unread += len(frame.wire)
        if self._unread > 20_000:
            self._theirs.recv(1 << 20)
            self._unread = 0

    def lose_position(self, subscription: Subscription) -> None:
        raise AssertionError("nothing is lost here")

    def too_slow(self) -> None:
        raise AssertionError("nobody is slow here")


class Uncounted(HubStats):
    """Counts nothing."""

    __slots__ = ()

    def delivered(self, channel: str, stamp: int | None, received: float, written: float) -> None:
        return


async def measure(process: Process, subscribers: int) -> None:
    """One line of the table."""
    name = f"room-{subscribers}"
    for _ in range(subscribers):
        subscription = Subscription(Wire(), name)
        joined = await process.hub.subscribe(subscription, OPTIONS)
        joined.release(subscription, process.hub.top(joined).offset)
    seconds, micros = await process.store.first.execute("TIME")
    now = time.monotonic()
    counting, silent = process.hub.stats, Uncounted(process.store)
    counting.clocks.note(0, now, int(seconds) + int(micros) * 1e-6, now)
    publications = max(300, DELIVERIES // subscribers)
    took: dict[HubStats, list[float]] = {counting: [], silent: []}
    body = b'{"data":"' + b"x" * 110 + b'"}'
    for turn in range(4 * ROUNDS):
        process.hub.stats = (counting, silent)[turn // 2 % 2]
        wanted = process.hub.delivered + publications * subscribers
        began = time.process_time()
        for _ in range(publications // 50):
            await asyncio.gather(*(process.broker.publish(name, body, OPTIONS) for _ in range(50)))
        await until(lambda wanted=wanted: process.hub.delivered >= wanted - publications % 50 * subscribers)
        took[process.hub.stats].append((time.process_time() - began) / publications * 1e6)
    with_it, without = (statistics.quantiles(took[stats])[0] for stats in (counting, silent))
    more = f"{with_it / without - 1:+7.2%}"
    print(f"{subscribers:>5} subscribers: {without:8.1f} µs uncounted {with_it:8.1f} µs counted {more}")


def pure_cost() -> float:
    """µs of the two clock readings and three observations of one publication, by themselves."""

    class OneShard:
        shards = (None,)

    stats = HubStats(OneShard())  # type: ignore[arg-type]
    stats.clocks.note(0, 0.0, 1.8e9, 0.0)
    began, turns = time.process_time(), 200_000
    for _ in range(turns):
        received = time.monotonic()
        stats.delivered("room", 1_800_000_000_000_000, received, time.monotonic())
    return (time.process_time() - began) / turns * 1e6


def cost_of_a_command() -> float:
    """µs of what is counted for one publication of a client: its namespace, and the time until it was answered."""
    loop, stats, traffic = asyncio.get_running_loop(), NodeStats(), TrafficByNamespace()
    began, turns = time.process_time(), 100_000
    for _ in range(turns):
        came = loop.time()
        traffic.of("room:1").published += 1
        stats.durations["publish"].observe(loop.time() - came)
    return (time.process_time() - began) / turns * 1e6


async def main() -> None:
    redis = RedisProcess()
    process = await Process(redis.url).start()
    try:
        print(f"counting one publication by itself: {pure_cost():.2f} µs")
        print(f"counting one publication of a client by itself: {cost_of_a_command():.2f} µs")
        for subscribers in map(int, sys.argv[1:] or ("1", "10", "100")):
            await measure(process, subscribers)
    finally:
        await process.close()
        redis.close()


if __name__ == "__main__":
    asyncio.run(main())
