"""Waiting for conditions, in coroutines and without an event loop: what all helpers of the tests that wait are made of.

A condition is a function, for `until` also a coroutine function. It is asked again until it gives something true;
nothing waits for a time alone.
"""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 20.0  # seconds: how long a busy machine may take for what is done at once on an idle one
EVERY = 0.02  # seconds between two questions


async def until(condition: Callable[[], Any], what: str, within: float = PATIENCE, every: float = EVERY) -> Any:
    """Wait until a condition gives something true, and give that."""
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        await asyncio.sleep(every)


def wait_until(condition: Callable[[], Any], what: str, within: float = PATIENCE, every: float = EVERY) -> Any:
    """`until` for code without an event loop."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(every)
    return found
