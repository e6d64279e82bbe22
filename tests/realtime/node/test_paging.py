"""Pages: all things once, in order, without keeping others waiting or holding more than a page."""

import asyncio
import tracemalloc

import pytest

from flotilla.realtime.node.paging import MAX, STRETCH, page

pytestmark = pytest.mark.asyncio


class Thing:
    """One of many, in no order; one in ten is not wanted."""

    def __init__(self, number: int) -> None:
        self.name = f"{number * 7919 % 100_003:06d}"
        self.wanted = number % 10 != 3


def name(thing: Thing) -> str:
    return thing.name


async def ask(things: list[Thing], after: str = "", limit: int = MAX) -> tuple[int, list[str]]:
    total, rows = await page(things, lambda one: one.wanted, name, after, limit)
    return total, [one.name for one in rows]


async def test_pages_follow_each_other() -> None:
    """All that are wanted, once, in the order of their names."""
    things = [Thing(number) for number in range(3 * STRETCH + 7)]
    wanted = sorted(one.name for one in things if one.wanted)
    seen: list[str] = []
    while True:
        total, found = await ask(things, after=seen[-1] if seen else "", limit=150)
        assert total == len(wanted)
        if not found:
            break
        seen += found
    assert seen == wanted
    assert len((await ask(things, limit=10**9))[1]) == MAX


async def test_a_hundred_thousand_cost_a_page_of_memory_and_keep_nobody_waiting() -> None:
    """Others have their turns in between."""
    things = [Thing(number) for number in range(100_000)]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(others())
    tracemalloc.start()
    try:
        await ask(things)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        waiting.cancel()
    assert turns >= len(things) / STRETCH
    assert most < 500_000
