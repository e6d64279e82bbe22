"""A private Redis for the engine, and processes on it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from tests.realtime.engine.processes import Make, Process
from tests.store.fixtures import mortal_redis, redis_process, redis_url, shared_redis, store

__all__ = ["mortal_redis", "redis_process", "redis_url", "shared_redis", "store"]


@pytest_asyncio.fixture
async def make(redis_url: str) -> AsyncIterator[Make]:
    """Start a process: `await make(check_interval=1, beating=True)`."""
    made: list[Process] = []

    async def start(url: str = redis_url, *, beating: bool = False, **options: Any) -> Process:
        process = Process(url, **options)
        made.append(process)
        return await process.start(beating=beating)

    yield start
    for process in made:
        await process.close()
