"""A Redis that would throw keys away is warned of once, counted, and named by the deployment check."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import redis
from django.core.checks import run_checks
from prometheus_client import CollectorRegistry, generate_latest

from flotilla.monitoring.memory import MemoryWatch, memory_watch, read
from flotilla.monitoring.metrics import NodeCollector
from flotilla.ratelimit.service import get_limits, reset_limits
from flotilla.store import StoreUnavailable, get_store
from tests.store.redis_process import RedisProcess


@pytest_asyncio.fixture
async def watch(configured: Any, redis_url: str) -> AsyncIterator[MemoryWatch]:
    """The process's watch, on this Redis."""
    configured.RATE_LIMIT_REDIS_URL = redis_url
    yield memory_watch
    memory_watch.known.clear()
    memory_watch._warned.clear()
    await get_store().close()


@pytest.fixture
def redis_process(mortal_redis: RedisProcess) -> RedisProcess:
    """The instance's Redis is this test's own."""
    return mortal_redis


def told() -> str:
    registry = CollectorRegistry()
    registry.register(NodeCollector())
    return generate_latest(registry).decode()


@pytest.mark.asyncio
@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl"])
async def test_a_policy_that_evicts_is_warned_of_and_counted(
    watch: MemoryWatch, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    redis_process.ask("CONFIG", "SET", "maxmemory-policy", policy)
    redis_process.ask("CONFIG", "SET", "maxmemory", "100mb")
    with caplog.at_level(logging.WARNING):
        await watch.look()
        await watch.look()
    lines = [record.getMessage() for record in caplog.records if record.name == "flotilla.monitoring.memory"]
    assert len(lines) == 1
    assert policy in lines[0] and "noeviction" in lines[0] and "Redis 0" in lines[0]
    assert 'flotilla_redis_evicting{shard="0"} 1.0' in told()
    assert 'flotilla_redis_memory_max_bytes{shard="0"} 1.048576e+08' in told()
    redis_process.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await watch.look()
    assert 'flotilla_redis_evicting{shard="0"} 0.0' in told()
    assert watch.known["0"].used > 0


@pytest.mark.asyncio
async def test_a_redis_that_cannot_write_its_snapshot_is_told(watch: MemoryWatch, redis_process: RedisProcess) -> None:
    """And that it can again."""
    await watch.look()
    assert 'flotilla_redis_persistence_failing{shard="0"} 0.0' in told()
    (redis_process.folder / "dump.rdb").mkdir()  # so it cannot be replaced, by whomever
    redis_process.ask("BGSAVE")
    await _looks_until(watch, 'flotilla_redis_persistence_failing{shard="0"} 1.0')
    (redis_process.folder / "dump.rdb").rmdir()
    redis_process.ask("BGSAVE")
    await _looks_until(watch, 'flotilla_redis_persistence_failing{shard="0"} 0.0')


@pytest.mark.asyncio
async def test_keys_that_were_thrown_away_are_counted(watch: MemoryWatch, redis_process: RedisProcess) -> None:
    await watch.look()
    assert 'flotilla_redis_evicted_keys_total{shard="0"} 0.0' in told()
    redis_process.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    for number in range(50):
        redis_process.ask("SET", f"filler-{number}", "x" * 10_000)
    redis_process.ask("CONFIG", "SET", "maxmemory", redis_process.ask("INFO", "memory")["used_memory"] - 200_000)
    with contextlib.suppress(redis.ResponseError):  # what it can throw away may not be enough
        redis_process.ask("SET", "one", "more")
    await watch.look()
    assert watch.known["0"].evicted > 0
    assert f'flotilla_redis_evicted_keys_total{{shard="0"}} {float(watch.known["0"].evicted)}' in told()


async def _looks_until(watch: MemoryWatch, line: str) -> None:
    for _ in range(500):
        await watch.look()
        if line in told():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{line} was never told")


@pytest.mark.asyncio
async def test_of_a_redis_that_does_not_say_it_nothing_is_told(watch: MemoryWatch, redis_process: RedisProcess) -> None:
    """Neither an old figure nor an invented one."""
    await watch.look()
    assert "flotilla_redis_evicting{" in told()
    redis_process.kill()
    await watch.look()
    assert "flotilla_redis_evicting{" not in told()


@pytest.mark.asyncio
async def test_the_redis_of_the_limits_is_looked_at_where_it_is_one_of_its_own(
    watch: MemoryWatch, configured: Any, shared_redis: RedisProcess
) -> None:
    configured.RATE_LIMIT_REDIS_URL = shared_redis.url
    reset_limits()
    await watch.look()
    assert watch.known.keys() == {"0", "limits"}
    await get_limits().limiter.close()
    reset_limits()


def test_the_deployment_check_names_a_redis_that_would_throw_keys_away(
    configured: Any, redis_process: RedisProcess, redis_url: str
) -> None:
    configured.RATE_LIMIT_REDIS_URL = redis_url
    assert run_checks(tags=["redis"], include_deployment_checks=True) == []
    redis_process.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    (found,) = run_checks(tags=["redis"], include_deployment_checks=True)
    assert found.id == "flotilla_monitoring.W001"
    assert "allkeys-lru" in found.msg and "noeviction" in (found.hint or "")
    redis_process.kill()
    assert run_checks(tags=["redis"], include_deployment_checks=True) == []


def test_an_answer_without_the_policy_is_no_answer() -> None:
    with pytest.raises(StoreUnavailable):
        read(b"used_memory:1\r\n")
