"""What the limits cost an HTTP request: `python -m tests.bench.limiter_overhead`.

One instance, one client on a kept-open connection; the same view asked without a policy, and under three of them, in
turns, so that both meet the same machine. Printed: p50 and p99 of each, and the difference, which is the overhead. Then
the limiter alone, in process: time of a decision, and of a remembered denial.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from django.conf import settings

settings.configure(REALTIME_PREFIX="bench")

from flotilla.ratelimit import keys  # noqa: E402
from flotilla.ratelimit.algorithms.rates import parse_rate  # noqa: E402
from flotilla.ratelimit.decisions import Claim  # noqa: E402
from flotilla.ratelimit.limiter import Limiter  # noqa: E402
from flotilla.ratelimit.policies import Policy  # noqa: E402
from flotilla.store import Shard  # noqa: E402
from tests.cluster.support.harness import Cluster  # noqa: E402

RATES = ("100000/s burst=100000", "1000000/m burst=1000000", "200/m")
IDENTITY = "ip:192.0.2.1"
CONFIG: dict[str, Any] = {
    "rate_limits": {
        "one": {"guards": "http:/burst/limited", "key": "ip", "rate": RATES[0]},
        "two": {"guards": "http:/burst/limited", "key": "header:X-API-Key", "rate": RATES[1]},
        "three": {"guards": "http:/burst/limited", "key": "header:X-Nothing", "rate": "100000/m"},
    }
}


def percentile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return statistics.quantiles(times, n=1000, method="inclusive")[int(share * 1000) - 1] * 1000


def ask(connection: HTTPConnection, path: str) -> float:
    """Seconds of one request."""
    began = time.perf_counter()
    connection.request("GET", path, headers={"X-API-Key": "bench"})
    response = connection.getresponse()
    response.read()
    assert response.status == 200, (path, response.status)
    return time.perf_counter() - began


def over_http(requests: int) -> None:
    """Print the overhead of a request."""
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as home:
        cluster = Cluster(Path(home), CONFIG, "flotilla")
        cluster.start()
        try:
            connection = HTTPConnection("127.0.0.1", cluster[0].port)
            times: dict[str, list[float]] = {"/burst/free": [], "/burst/limited": []}
            for _ in range(200):
                for path in times:
                    ask(connection, path)
            for _ in range(requests):
                for path, found in times.items():
                    found.append(ask(connection, path))
        finally:
            cluster.stop()
    plain, limited = times.values()
    for share in (0.5, 0.99):
        without, with_ = percentile(plain, share), percentile(limited, share)
        print(
            f"p{share * 100:g}: {without:6.3f} ms without, {with_:6.3f} ms under three policies: "
            f"{with_ - without:+.3f} ms",
            flush=True,
        )
    print(f"mean: {(statistics.mean(limited) - statistics.mean(plain)) * 1000:+.3f} ms ({requests} requests each)")


async def alone(url: str, decisions: int) -> None:
    """Print the time of the limiter's own work."""
    limiter = Limiter(Shard(0, url), Shard(0, url))
    for rates in (RATES[:1], RATES[:2], RATES):
        claims = []
        for number, text in enumerate(rates):
            policy = Policy(f"p{number}-{len(rates)}", ("http",), "ip", parse_rate(text))
            claims.append(
                Claim(policy, "ip:192.0.2.1", policy.rate, keys.bucket(policy.name, "ip:192.0.2.1", policy.rate))
            )
        times: list[float] = []
        remembered: list[float] = []
        for _ in range(decisions):
            began, before = time.perf_counter(), limiter.counts.remembered
            await limiter.decide(claims)
            (remembered if limiter.counts.remembered > before else times).append(time.perf_counter() - began)
        print(
            f"{len(rates)} policies: p50 {percentile(times, 0.5):.3f} ms, p99 {percentile(times, 0.99):.3f} ms",
            flush=True,
        )
        if remembered:
            print(f"a remembered denial: p50 {percentile(remembered, 0.5):.4f} ms ({len(remembered)} of them)")
    await limiter.shard.close()


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description="What the limits cost.")
    parser.add_argument("--requests", type=int, default=5000)
    wanted = parser.parse_args()
    over_http(wanted.requests)
    from tests.cluster.support.processes import Redis

    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as home:
        redis = Redis(Path(home))
        redis.start()
        try:
            asyncio.run(alone(redis.url, wanted.requests))
        finally:
            redis.stop()


if __name__ == "__main__":
    main()
