"""A page of many things: those that come next in the order of their names, and how many there are in all.

However many there are, memory is needed for the page alone; and while a hundred thousand are looked through, the event
loop does other work in between.
"""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from typing import TypeVar

MAX = 200  # rows in a page
STRETCH = 1000  # things looked at before the event loop does other work

Thing = TypeVar("Thing")


async def page(
    things: Sequence[Thing], wanted: Callable[[Thing], bool], name: Callable[[Thing], str], after: str, limit: int
) -> tuple[int, list[Thing]]:
    """How many are wanted in all, and up to `limit` of them with names above `after`, in order."""
    total, rows, size, last = 0, list[Thing](), min(limit, MAX), ""
    for start in range(0, len(things), STRETCH):
        found = [one for one in things[start : start + STRETCH] if wanted(one)]
        total += len(found)
        if last:  # the page is full: what comes after its last row cannot be in it any more
            found = [one for one in found if after < name(one) < last]
        else:
            found = [one for one in found if after < name(one)]
        if found:
            rows = heapq.nsmallest(size, [*rows, *found], key=name)
            last = name(rows[-1]) if rows and len(rows) == size else ""
        await asyncio.sleep(0)
    return total, rows
