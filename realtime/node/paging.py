"""A page of many things: those that come next in an order, and how many there are in all.

However many there are, memory is needed for the page alone; and while a hundred thousand are looked through, the event
loop does other work in between.
"""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

MAX = 200  # rows in a page
STRETCH = 1000  # things looked at before the event loop does other work

Thing = TypeVar("Thing")


async def page(
    things: Sequence[Thing],
    wanted: Callable[[Thing], bool],
    key: Callable[[Thing], Any],
    after: Any,
    limit: int,
    *,
    descending: bool = False,
) -> tuple[int, list[Thing]]:
    """How many are wanted in all, and up to `limit` of them in the order of their keys. They come behind the key
    `after`; one that is empty stands before all."""
    total, rows, size = 0, list[Thing](), min(limit, MAX)
    first = heapq.nlargest if descending else heapq.nsmallest
    last: Any = None
    for start in range(0, len(things), STRETCH):
        found = [one for one in things[start : start + STRETCH] if wanted(one)]
        total += len(found)
        if descending:
            found = [one for one in found if (not after or key(one) < after) and (last is None or key(one) > last)]
        elif last is not None:  # the page is full: what comes after its last row cannot be in it any more
            found = [one for one in found if (not after or after < key(one)) and key(one) < last]
        elif after:
            found = [one for one in found if after < key(one)]
        if found:
            rows = first(size, [*rows, *found], key=key)
            last = key(rows[-1]) if rows and len(rows) == size else None
        await asyncio.sleep(0)
    return total, rows


def steady(value: Callable[[Thing], Any], name: Callable[[Thing], str]) -> Callable[[Thing], tuple[Any, str]]:
    """A key by a value that may change while a page is made: as it was at the first look. Equal ones are in the order
    of their names."""
    known: dict[str, tuple[Any, str]] = {}

    def key(thing: Thing) -> tuple[Any, str]:
        found = known.get(name(thing))
        if found is None:
            found = known[name(thing)] = (value(thing), name(thing))
        return found

    return key
