"""A line every few seconds that says how a campaign goes, as long as it runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

EVERY = 5.0  # seconds


@asynccontextmanager
async def progress(line: Callable[[], str], *beside: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Print `line()` now and then for the time of a block, and run what goes on `beside` it."""
    tasks = [asyncio.create_task(one) for one in (_show(line), *beside)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _show(line: Callable[[], str]) -> None:
    while True:
        await asyncio.sleep(EVERY)
        print(line(), flush=True)
