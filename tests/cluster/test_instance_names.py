"""A name is one instance's at a time: who starts under that of another that lives does not, and who crashed waits for
nothing."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from flotilla.store import whole_placement
from tests.cluster.support.harness import CONFIG, Cluster, Instance, Served, running
from tests.cluster.support.processes import PATIENCE, READY_WITHIN, eventually, free_port, wait_until

pytestmark = pytest.mark.timeout(400)

LEASE = 900.0  # seconds: whoever waited for one to run out would not be ready in time
UNKNOWN_FOR = 20_000  # ms: longer than a process takes to ask
TAKEN = "an instance called flotilla-0 is running already"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    config = CONFIG | {"lease_ttl": LEASE, "lease_renew": 2}
    with running(Cluster(tmp_path_factory.mktemp("names"), config, "flotilla")) as cluster:
        yield cluster


@pytest.fixture
def first(cluster: Cluster) -> Instance:
    """The instance, started again where a test has ended it."""
    if not cluster[0].running:
        cluster[0].start()
    return cluster[0]


def twin(cluster: Cluster, server: str = "flotilla") -> Instance:
    """Another one of its name, with a log and ports of its own."""
    folder = cluster[0].home / f"twin-{free_port()}"
    folder.mkdir()
    return Instance(cluster[0].name, folder, cluster.env | {"METRICS_PORT": str(free_port())}, server)


@pytest.mark.parametrize("server", ["flotilla", "uvicorn", "daphne"])
def test_a_second_one_of_a_name_is_refused(cluster: Cluster, first: Instance, server: str) -> None:
    """Its process ends and says what to do; the first one notices nothing."""
    other = twin(cluster, server)
    if server == "uvicorn":  # whose workers of one folder for temporary files have numbers
        other._env["TMPDIR"] = str(other.home)
    other.launch()
    try:
        wait_until(lambda: not other.running, "it ended", 3 * READY_WITHIN)
        assert other.exit_code != 0 or server == "daphne"  # which ends as if it had been told to
    finally:
        other.stop()
    assert TAKEN in other.tail() and "INSTANCE_ID" in other.tail()
    assert f"process {first.pid} on host" in other.tail()
    assert "Traceback" not in other.tail()
    assert first.running and first.ready()


def test_of_two_that_start_at_once_one_does(cluster: Cluster, first: Instance) -> None:
    first.stop()
    both = [twin(cluster), twin(cluster)]
    try:
        for one in both:
            one.launch()
        wait_until(lambda: sum(one.running for one in both) == 1, "one of them ended")
        (there,) = (one for one in both if one.running)
        there.wait_ready()
    finally:
        for one in both:
            one.stop()


def test_one_that_crashed_is_followed_at_once(cluster: Cluster, first: Instance) -> None:
    """Its lease would last much longer."""
    first.kill()
    first.start()
    assert "was left by a process that has ended" in first.log.read_text()


def test_one_that_drains_has_a_successor_of_its_name(cluster: Cluster, first: Instance) -> None:
    """Though it does so for long: here it is stopped in the middle."""
    slow = twin(cluster)
    first.stop()
    slow._env |= {"DRAIN_GRACE": "30", "DRAIN_DEADLINE": "40"}
    slow.start()
    try:
        slow.send(signal.SIGTERM)
        wait_until(lambda: not slow.ready(), "it drains")
        first.start()
        assert slow.running
    finally:
        slow.kill()


def test_a_lease_of_unknown_origin_is_waited_for_no_longer_than_it_lasts(cluster: Cluster, first: Instance) -> None:
    """As of another container that was killed; it is not renewed. One that is renewed is somebody's."""
    first.stop()
    held = f"local now = redis.call('TIME') return redis.call('ZADD', KEYS[1], now[1] * 1000 + {UNKNOWN_FOR}, ARGV[1])"
    key, incarnation = whole_placement("leases").key("pl"), "flotilla-0.0123456789ab"
    with cluster.redis.client() as client:
        assert client.eval(held, 1, key, incarnation) == 1
    first.start()
    assert f"waiting whether {incarnation} is alive" in first.log.read_text()


@pytest.mark.asyncio
async def test_a_rolling_restart_replaces_each_under_its_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Old and new serve beside each other for a moment: the supervisor says so."""
    served = Served(tmp_path_factory.mktemp("served"), CONFIG, instances=1)
    served.start()
    try:
        (old,) = served.pids().items()
        served.send(signal.SIGHUP)
        await eventually(lambda: "every instance was replaced" in served.tail(), "it is over", 3 * PATIENCE)
        (new,) = served.pids().items()
        assert new[0] == old[0] and new[1] != old[1]
    finally:
        await asyncio.to_thread(served.stop)
