"""What the limits cost an HTTP request: `python -m tests.bench.limiter_overhead`.

One instance, one client on a connection that is kept; the same view asked without a policy, under one, and under
three of them, in turns, so that all meet the same machine. Printed, of each: p50 and p99 of the time until the answer
was read, CPU time of the server and of Redis; and what the policies add to each of these. All are medians over the
rounds: p99 is that of the requests of a round, and what is added is the median of the rounds' differences, so a moment
in which the machine did something else does not count as ours. With `--alone`, the limiter's own work in process.
"""

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles

from django.conf import settings

settings.configure(REALTIME_PREFIX="bench")

from flotilla.ratelimit import keys  # noqa: E402
from flotilla.ratelimit.algorithms.rates import parse_rate  # noqa: E402
from flotilla.ratelimit.decisions import Claim  # noqa: E402
from flotilla.ratelimit.limiter import Limiter  # noqa: E402
from flotilla.ratelimit.policies import Policy  # noqa: E402
from flotilla.store import Shard  # noqa: E402
from tests.bench.jobs.base import served  # noqa: E402
from tests.bench.machine import Cores, Meter, end_in_order  # noqa: E402
from tests.bench.pages.urls import EMPTY, EMPTY_COROUTINE  # noqa: E402
from tests.bench.servers.base import BenchRedis, Server, Shape  # noqa: E402
from tests.bench.servers.limited import RATES, FlotillaLimited, GunicornLimited  # noqa: E402

SLICE = 20  # requests of one kind before the next kind's turn
WARM = 10  # slices that do not count
LIMITS = ("free", "one", "three")
VIEWS = {"a view": EMPTY, "a coroutine view": EMPTY_COROUTINE}
SERVERS: dict[str, tuple[type[Server], tuple[str, ...]]] = {
    "asgi": (FlotillaLimited, tuple(VIEWS)),
    "wsgi": (GunicornLimited, ("a view",)),
}
FIGURES = ("p50, ms", "p99, ms", "CPU of the server, ms", "CPU of Redis, ms")
Figures = tuple[float, ...]
"""One kind of request in one round: `FIGURES`, each in milliseconds."""


class Kind:
    """One path, and what was measured of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rounds: list[Figures] = []
        self._times: list[float] = []
        self._server = self._redis = 0.0

    def slice(self, connection: HTTPConnection, server: Meter, redis: Meter) -> None:
        """Some requests. Raises AssertionError for one that was not answered as it should be."""
        before, redis_before = server.cpu(), redis.cpu()
        for _ in range(SLICE):
            began = time.perf_counter()
            connection.request("GET", self.path, headers={"X-API-Key": "bench"})
            response = connection.getresponse()
            text = response.read()
            self._times.append(time.perf_counter() - began)
            limited = response.headers.get("RateLimit") is not None
            if response.status != 200 or limited == self.path.endswith("free"):
                raise AssertionError(f"{self.path}: {response.status}, {text[:200]!r}")
        self._server += server.cpu() - before
        self._redis += redis.cpu() - redis_before

    def end_round(self) -> None:
        """Keep the figures of what was asked since the last round."""
        each, count = quantiles(self._times, n=100, method="inclusive"), len(self._times)
        self.rounds.append((each[49] * 1e3, each[98] * 1e3, self._server / count * 1e3, self._redis / count * 1e3))
        self.forget()

    def forget(self) -> None:
        """What was asked since the last round does not count."""
        self._times, self._server, self._redis = [], 0.0, 0.0

    @property
    def medians(self) -> Figures:
        """Over the rounds."""
        return tuple(map(median, zip(*self.rounds, strict=True)))

    def beyond(self, other: "Kind") -> Figures:
        """What it takes more than another kind, of which each round was measured in turn with this one's."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return tuple(map(median, zip(*([a - b for a, b in zip(*pair, strict=True)] for pair in pairs), strict=True)))


def measure(server: Server, path: str, rounds: int, slices: int) -> dict[str, Kind]:
    """All kinds of one view, in turns; who comes first changes from one turn to the next."""
    kinds = {limits: Kind(path + limits) for limits in LIMITS}
    meters = Meter(server.pids), Meter([server.redis.pid])
    connection = HTTPConnection("127.0.0.1", server.ports[0], timeout=60)
    order = list(kinds.values())
    for _ in range(WARM):
        for kind in order:
            kind.slice(connection, *meters)
            kind.forget()
    for _ in range(rounds):
        for _ in range(slices):
            order = [*order[1:], order[0]]
            for kind in order:
                kind.slice(connection, *meters)
        for kind in order:
            kind.end_round()
    connection.close()
    return kinds


def table(title: str, kinds: dict[str, Kind]) -> str:
    """As Markdown."""
    lines = [f"| {title} | {' | '.join(FIGURES)} |", "|---|" + "---:|" * len(FIGURES)]
    rows = {"without a policy": kinds["free"].medians}
    for limits in LIMITS[1:]:
        rows[f"under {limits}"] = kinds[limits].medians
        rows[f"{limits} more"] = kinds[limits].beyond(kinds["free"])
    for name, figures in rows.items():
        cells = [f"{value:+.3f}" if name.endswith("more") else f"{value:.3f}" for value in figures]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def over_http(names: Sequence[str], rounds: int, slices: int) -> None:
    """Print the tables of some servers."""
    cores = Cores()
    if cores.rest:
        os.sched_setaffinity(0, cores.rest)
    print(f"medians of {rounds} rounds of {slices * SLICE} requests of each kind; {cores}", flush=True)
    gc.disable()
    for name in names:
        kind, views = SERVERS[name]
        with served(kind, Shape(), cores) as server:
            for view in views:
                found = measure(server, VIEWS[view], rounds, slices)
                print(f"\n{table(f'{view}, {kind.title}', found)}", flush=True)
                gc.collect()


async def alone(url: str, decisions: int) -> None:
    """Print the time of the limiter's own work."""
    limiter = Limiter(Shard(0, url), Shard(0, url))
    for rates in (RATES[:1], RATES):
        claims = []
        for number, text in enumerate(rates):
            policy = Policy(f"p{number}-{len(rates)}", ("http",), "ip", parse_rate(text))
            key = keys.bucket(policy.name, "ip:192.0.2.1", policy.rate)
            claims.append(Claim(policy, "ip:192.0.2.1", policy.rate, key))
        times = []
        for _ in range(decisions):
            began = time.perf_counter()
            await limiter.decide(claims)
            times.append(time.perf_counter() - began)
        each = quantiles(times, n=100, method="inclusive")
        print(f"{len(rates)} policies: p50 {each[49] * 1e3:.3f} ms, p99 {each[98] * 1e3:.3f} ms", flush=True)
    await limiter.close()


def alone_on_redis(decisions: int) -> None:
    """`alone`, with a Redis for it."""
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as home:
        redis = BenchRedis(Path(home), [])
        redis.start()
        try:
            asyncio.run(alone(redis.url, decisions))
        finally:
            redis.stop()


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="What the limits cost a request.")
    parser.add_argument("--servers", type=lambda text: text.split(","), default=list(SERVERS), help="asgi,wsgi")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--slices", type=int, default=20, help=f"of {SLICE} requests of each kind, in a round")
    parser.add_argument("--alone", action="store_true", help="the limiter's own work instead, without a server")
    wanted = parser.parse_args()
    if unknown := set(wanted.servers) - set(SERVERS):
        parser.error(f"no server is called {', '.join(unknown)}: there are {', '.join(SERVERS)}")
    return wanted


def main() -> int:
    """Measure."""
    end_in_order()
    wanted = options()
    if reason := FlotillaLimited.missing():
        print(f"nothing can be measured: {reason}", file=sys.stderr)
        return 2
    if wanted.alone:
        alone_on_redis(wanted.rounds * wanted.slices * SLICE)
    else:
        over_http(wanted.servers, wanted.rounds, wanted.slices)
    return 0


if __name__ == "__main__":
    sys.exit(main())
