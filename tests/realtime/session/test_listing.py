"""Pages of connections: all of them once, in order, without keeping others waiting or holding more than a page."""

import asyncio
import tracemalloc
from typing import Any

import pytest

from realtime.access.identity import Identity
from realtime.session.listing import MOST, STRETCH, page
from tests.realtime.session.peers import RecordingSocket

pytestmark = pytest.mark.asyncio


class Connection:
    """What a page wants to know of a session."""

    via, address, name, since = "token", "192.0.2.1", "app", 0.0
    subscriptions: dict[str, Any] = {}
    socket = RecordingSocket()

    def __init__(self, number: int) -> None:
        self.client = f"{number * 7919 % 100_003:06d}"  # in no order
        self.identity = Identity(user=str(number % 10))


async def ask(sessions: list[Any], text: str = "", after: str = "", limit: int = MOST) -> dict[str, Any]:
    return await page(sessions, lambda one: one.identity.user != "3", "unit-0", text, after, limit)


async def test_pages_follow_each_other() -> None:
    """Everybody who fits, once, in the order of the ids."""
    sessions = [Connection(number) for number in range(3 * STRETCH + 7)]
    wanted = sorted(one.client for one in sessions if one.identity.user != "3")
    seen: list[str] = []
    while True:
        found = await ask(sessions, after=seen[-1] if seen else "", limit=150)
        assert found["total"] == len(wanted)
        if not found["rows"]:
            break
        seen += [row["client"] for row in found["rows"]]
    assert seen == wanted
    assert (await ask(sessions, text="7"))["total"] < len(wanted)
    assert len((await ask(sessions, limit=10**9))["rows"]) == MOST


async def test_a_hundred_thousand_cost_a_page_of_memory_and_keep_nobody_waiting() -> None:
    """Others have their turns in between."""
    sessions = [Connection(number) for number in range(100_000)]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(others())
    tracemalloc.start()
    try:
        await ask(sessions)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        waiting.cancel()
    assert turns >= len(sessions) / STRETCH
    assert most < 500_000
