"""Fixtures around a private Redis, imported by the conftest of each folder that needs them."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from flotilla.store import Store
from tests.store.engine_process import CHOSEN, EngineProcess
from tests.store.redis_process import RedisProcess


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisProcess]:
    """One Redis for all tests that leave it alive."""
    process = EngineProcess() if CHOSEN else RedisProcess()
    yield process  # type: ignore[misc]
    process.close()


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
    if CHOSEN:
        pytest.skip("the engine in the process cannot be killed")
    process = RedisProcess()
    yield process
    process.close()


@pytest_asyncio.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A store with one shard."""
    made = Store([redis_url])
    yield made
    await made.close()
