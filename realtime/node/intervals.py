"""Rates: counts that grow are read twice, so many seconds apart, while the event loop does other work.

A hundred thousand things are read in stretches. What came in between counts from nothing, what went away is left out.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from flotilla.realtime.node.paging import STRETCH

MAX_SECONDS = 30.0

Thing = TypeVar("Thing")
Counts = tuple[int, ...]


async def grown(
    things: Callable[[], Mapping[str, Thing]], counts: Callable[[Thing], Counts], seconds: float
) -> list[tuple[Thing, list[float]]]:
    """Each thing that is there after so many seconds (at most MAX_SECONDS), with how much each of its counts has grown
    in a second."""
    loop = asyncio.get_running_loop()
    began, before = loop.time(), dict[str, Counts]()
    for stretch in stretches(list(things().items())):
        before.update((name, counts(thing)) for name, thing in stretch)
        await asyncio.sleep(0)
    await asyncio.sleep(max(0.0, min(seconds, MAX_SECONDS)))
    passed, found = max(loop.time() - began, 1e-3), []
    for stretch in stretches(list(things().items())):
        for name, thing in stretch:
            now = counts(thing)
            then = before.get(name) or (0,) * len(now)
            found.append((thing, [(new - old) / passed for new, old in zip(now, then, strict=True)]))
        await asyncio.sleep(0)
    return found


def stretches(things: Iterable[Thing]) -> Iterator[list[Thing]]:
    """Things, so many at a time as are looked at before the event loop does other work."""
    left = iter(things)
    while stretch := list(islice(left, STRETCH)):
        yield stretch
