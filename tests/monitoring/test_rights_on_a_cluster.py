"""The rights that docs/SECURITY.md gives Redis's user in a cluster: the whole product runs with exactly these, and
readiness names the one that is missing."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from flotilla.monitoring import health
from flotilla.ratelimit.service import reset_limits
from flotilla.store import get_store
from tests.monitoring.test_rights import DOCUMENT, LINES, denied, words
from tests.monitoring.whole_product import run_whole_product
from tests.store.redis_cluster import RedisCluster
from tests.store.redis_process import until

pytestmark = pytest.mark.timeout(150)

IN_A_CLUSTER = re.findall(r"`([^`]*\+(?:cluster|ssubscribe)[^`]*)`", " ".join(DOCUMENT.split()))
MORE = [right for rights in IN_A_CLUSTER for right in rights.split()]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster with the documented users on each node."""
    made = RedisCluster(tmp_path_factory.mktemp("cluster"))
    give(made)
    yield made
    made.close()


def give(cluster: RedisCluster) -> None:
    """Give the documented users exactly the documented rights."""
    for node in cluster.nodes:
        for line in (LINES[0], LINES[2]):
            node.ask(*words(line), *MORE)
        node.ask("ACL", "LOG", "RESET")


@pytest.fixture
def cluster(servers: RedisCluster) -> RedisCluster:
    for node in servers.nodes:
        node.ask("FLUSHALL")
    give(servers)
    return servers


def address(cluster: RedisCluster, user: str) -> str:
    return cluster.url.replace("://", f"://{user}:s3cret@") + "?shards=6"


@pytest.fixture
def redis_url(cluster: RedisCluster) -> str:
    return address(cluster, "flotilla")


def test_the_document_says_what_a_cluster_needs_besides() -> None:
    sharded = ["+spublish", "+ssubscribe", "+sunsubscribe"]
    assert sorted(MORE) == ["+cluster|info", "+cluster|nodes", "+cluster|slots", *sharded]


@pytest.mark.django_db(transaction=True)
async def test_the_whole_product_runs_with_exactly_these_rights(
    configured: Any, cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_whole_product(configured, address(cluster, "flotilla-limits"), monkeypatch)
    assert [refused for node in cluster.nodes for refused in denied(node)] == []


@pytest_asyncio.fixture
async def instance(configured: Any, cluster: RedisCluster) -> AsyncIterator[None]:
    """What an instance checks of its Redises, from the start."""
    configured.RATE_LIMIT_REDIS_URL = address(cluster, "flotilla-limits")
    reset_limits()
    health._running.clear()
    health._news._last.clear()
    yield
    await get_store().close()
    await health.get_limits().limiter.close()
    reset_limits()


@pytest.mark.usefixtures("instance")
@pytest.mark.parametrize("connected", [True, False], ids=["at work", "from the start"])
@pytest.mark.parametrize("right", ["spublish", "ssubscribe", "sunsubscribe", "info", "xadd"])
async def test_readiness_names_a_right_that_one_node_does_not_give(
    right: str, connected: bool, cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """And which node, as users are each node's own; it heals when the right is given."""
    if connected:
        await until(ready, what="to be ready")
    node = cluster.nodes[1]
    node.ask("ACL", "SETUSER", "flotilla", f"-{right}")
    await until(lambda: fails("NOPERM"), what="to miss a right")
    assert_named(right, caplog)
    assert f" at {node.at}: " in caplog.text
    give(cluster)
    await until(ready, what="to be ready again")


@pytest.mark.usefixtures("instance")
async def test_readiness_names_that_nodes_may_not_be_asked_who_has_which_slot(
    cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever knows that goes on; whoever comes does not."""
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", "flotilla", "-cluster")
    await until(lambda: fails("NOPERM"), what="to miss a right")
    assert_named("cluster", caplog)
    give(cluster)
    await until(ready, what="to be ready")
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", "flotilla", "-cluster")
    assert await ready()


def assert_named(right: str, caplog: pytest.LogCaptureFixture) -> None:
    lines = [record.getMessage() for record in caplog.records if record.name == "flotilla.monitoring.health"]
    assert any(right in line and "docs/SECURITY.md" in line for line in lines), lines
    assert "s3cret" not in caplog.text


async def ready() -> bool:
    return bool((await health._run("redis", health.CHECKS["redis"]))["ok"])


async def fails(code: str) -> bool:
    found = await health._run("redis", health.CHECKS["redis"])
    return not found["ok"] and found["problem"] == code
