"""The gate of `make load` bites: what spoils the service fails the very line that is about it. `make load-gate`.

Each run is a real one, of Artillery on a cluster of its own. The first sees that the same run passes unspoilt: a gate
that always fails would prove nothing.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from flotilla.ops.load.artillery import install
from flotilla.ops.load.destinations import Place, new_folder, own_cluster
from flotilla.ops.load.run import Result, repeated, run
from flotilla.ops.load.verdicts import ARTILLERY, TIMES
from tests.ops.load.proxy import Proxy

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def artillery() -> None:
    install(print)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with own_cluster(2, print) as cluster:
        yield cluster


def load(place: Place, profile: str = "smoke", attempts: int = 1, **changed: int) -> Result:
    once = lambda: run(profile, place, new_folder(f"gate-{profile}"), print, {"stay": 20, **changed})  # noqa: E731
    return repeated(attempts, once, print)


def failed(result: Result) -> set[str]:
    """The lines that failed, by their names."""
    print(*result.verdicts, sep="\n")
    return {one.name for one in result.verdicts if not one.passed}


def test_unspoilt_it_passes(place: Place) -> None:
    assert failed(load(place, attempts=3)) == set()


def test_150_milliseconds_more_fail_on_p95(place: Place) -> None:
    with Proxy(place.address, delay=0.15) as proxy:
        found = failed(load(replace(place, address=proxy.address)))
    assert found == {*TIMES[:2], ARTILLERY}


def test_two_percent_of_connections_dropped_fail_on_errors(place: Place) -> None:
    with Proxy(place.address, drop_every=50) as proxy:
        found = failed(load(replace(place, address=proxy.address)))
        assert proxy.dropped >= 2
    assert found - set(TIMES) == {"errors", ARTILLERY}  # a busy machine may be slow besides


def test_hardly_any_samples_fail_for_want_of_data(place: Place) -> None:
    found = failed(load(place, every=15))
    assert found - set(TIMES) == {"samples deliveries", ARTILLERY}


def test_a_limiter_at_twice_its_rate_fails_on_overshoot() -> None:
    with own_cluster(2, print, lenient=2) as place:
        found = failed(load(place, "hard", stay=30, floodFrom=12, floodFor=12))
    assert {"overshoot publish", "overshoot http"} <= found
