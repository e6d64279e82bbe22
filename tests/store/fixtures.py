"""Fixtures around a private Redis, imported by the conftest of each folder that needs them."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from flotilla.store import Store
from tests.store import cluster_process, engine_process
from tests.store.redis_process import RedisProcess


def chosen_process(usual: Callable[[], Any] = RedisProcess) -> Any:
    """A Redis, or what stands in for one: the engine in the process, or a cluster."""
    if engine_process.CHOSEN:
        return engine_process.EngineProcess()
    return cluster_process.ClusterProcess() if cluster_process.CHOSEN else usual()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisProcess]:
    """One Redis for all tests that leave it alive."""
    process = chosen_process()
    yield process
    process.close()


@pytest.fixture
def by_itself() -> None:
    """For tests of connections to one Redis: those to a cluster are looked at in `tests/store/test_cluster.py`."""
    if cluster_process.CHOSEN:
        pytest.skip("it is about one Redis by itself")


@pytest.fixture
def redis_process(shared_redis: RedisProcess) -> RedisProcess:
    """An empty Redis that is not to be killed."""
    shared_redis.ask("FLUSHALL")
    return shared_redis


@pytest.fixture
def redis_url(redis_process: RedisProcess) -> str:
    """The address of an empty Redis."""
    return redis_process.url


@pytest.fixture
def mortal_redis() -> Iterator[RedisProcess]:
    """A Redis of this test's own, which it may kill."""
    if engine_process.CHOSEN or cluster_process.CHOSEN:
        pytest.skip("this engine cannot be killed")
    process = RedisProcess()
    yield process
    process.close()


@pytest_asyncio.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A store with one shard."""
    made = Store([redis_url])
    yield made
    await made.close()
