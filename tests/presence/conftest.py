"""Fixtures: a Redis of our own, a second one, an ear on announcements, and a maker of instances."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from flotilla.store import Store
from tests.presence.cluster import Ear, Instance, Maker, PrivateRedis
from tests.store import cluster_process
from tests.store.fixtures import chosen_process, redis_process, shared_redis

__all__ = ["redis_process", "shared_redis"]


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[PrivateRedis]:
    if cluster_process.CHOSEN:  # which takes seconds to start
        yield request.getfixturevalue("redis_process")
        return
    private = chosen_process(PrivateRedis)
    yield private
    private.close()


@pytest.fixture
def second_server() -> Iterator[PrivateRedis]:
    if cluster_process.CHOSEN:
        pytest.skip("there is no other Redis beside a cluster")
    private = chosen_process(PrivateRedis)
    yield private
    private.close()


@pytest_asyncio.fixture
async def store(server: PrivateRedis) -> AsyncIterator[Store]:
    """Over that Redis."""
    store = Store([server.url])
    yield store
    await store.close()


@pytest.fixture
def ear(server: PrivateRedis) -> Iterator[Ear]:
    listening = Ear(server)
    yield listening
    listening.close()


@pytest_asyncio.fixture
async def make(server: PrivateRedis) -> AsyncIterator[Maker]:
    """Start an instance: `await make("a", **options)`."""
    made: list[Instance] = []

    async def start(name: str, urls: list[str] | None = None, **options: Any) -> Instance:
        instance = Instance(urls or [server.url], name, **options)
        made.append(instance)
        await instance.start()
        return instance

    yield start
    await asyncio.gather(*(instance.crash() for instance in made))
