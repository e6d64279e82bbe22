"""What readiness says while slots of a cluster move, stay on their way, or are nobody's."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from flotilla.monitoring import health
from flotilla.ratelimit.service import reset_limits
from flotilla.store import get_store
from flotilla.store.slots import slot_of
from tests.store.redis_cluster import RedisCluster
from tests.store.redis_fleet import Server
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

SHARDS = 3
SLOT = slot_of(1, SHARDS)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    made = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture
def redis_url(cluster: RedisCluster) -> str:
    return f"{cluster.url}?shards={SHARDS}"


@pytest_asyncio.fixture(autouse=True)
async def instance(configured: Any, redis_url: str) -> AsyncIterator[None]:
    configured.RATE_LIMIT_REDIS_URL = redis_url
    reset_limits()
    health._running.clear()
    health._news._last.clear()
    await until(ready, what="to be ready")
    yield
    await get_store().close()
    await health.get_limits().limiter.close()
    reset_limits()


async def asked(name: str = "redis") -> dict[str, Any]:
    return await health._run(name, health.CHECKS[name])


async def ready() -> bool:
    return bool((await asked())["ok"])


async def fails(code: str, name: str = "redis") -> bool:
    return (await asked(name)).get("problem") == code


def elsewhere(cluster: RedisCluster, slot: int) -> Server:
    owner = cluster.owner(slot)
    return next(node for node in cluster.nodes if node is not owner)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "flotilla.monitoring.health"]


async def test_a_slot_that_stays_on_its_way_is_named(cluster: RedisCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Calls are held for longer than a check may take; so it is no silence that has to be reported."""
    target = elsewhere(cluster, SLOT)
    source = cluster.begin_move(SLOT, target)
    await until(lambda: fails("ASK"), what="to be told of the slot")
    line = next(line for line in said(caplog) if "ASK" in line)
    assert f"Redis 1 at {source.at}: ASK {SLOT} " in line and "redis-cli --cluster fix" in line
    cluster.end_move(SLOT, source, target)
    await until(ready, what="to be ready again")


async def test_a_cluster_without_a_slot_is_named(cluster: RedisCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Also by the check of the limits; and a slot that nothing lives in is enough."""
    owner, slot = cluster.owner(100), 100
    for node in cluster.nodes:
        node.ask("CLUSTER", "DELSLOTS", slot)
    for name in ("redis", "limits"):
        await until(partial(fails, "CLUSTERDOWN", name), what="to be told of the cluster")
    assert any("redis-cli --cluster check" in line for line in said(caplog))
    owner.ask("CLUSTER", "ADDSLOTS", slot)
    await until(ready, what="to be ready again")


async def test_a_slot_that_has_moved_is_followed_by_the_check_itself(
    cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """An instance that goes on serves: no balancer has to take it out."""
    for _ in range(3):
        cluster.move_slot(SLOT, elsewhere(cluster, SLOT))
        assert await ready()
    assert said(caplog) == []
