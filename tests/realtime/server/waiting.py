"""Waiting for conditions, in coroutines."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

MAX_SECONDS = 20.0  # seconds


async def until(condition: Callable[[], Any], what: str, within: float = MAX_SECONDS) -> Any:
    """Wait until `condition()` is true; gives what it gave."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.02)
    return found
