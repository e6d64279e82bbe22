"""Rates between two looks, also at more things than are looked at in one stretch."""

import asyncio

import pytest

from flotilla.realtime.node.intervals import grown, stretches
from flotilla.realtime.node.paging import STRETCH

pytestmark = pytest.mark.asyncio


class Thing:
    """Something that counts."""

    def __init__(self) -> None:
        self.count = 0


async def test_what_has_grown_is_told_by_the_second() -> None:
    """What came in between counts from nothing, what went away is left out."""
    things = {str(number): Thing() for number in range(2 * STRETCH + 3)}
    looks = 0

    def look() -> dict[str, Thing]:
        """The things, to which something happens between the two looks."""
        nonlocal looks
        looks += 1
        if looks == 2:
            things["7"].count += 10
            del things["8"]
            things["new"] = Thing()
            things["new"].count = 5
        return things

    loop = asyncio.get_running_loop()
    began = loop.time()
    found = {id(thing): rates for thing, rates in await grown(look, lambda thing: (thing.count, -thing.count), 0.3)}
    took = loop.time() - began
    assert len(found) == len(things)
    plus, minus = found[id(things["7"])]
    assert 10 / took <= plus <= 10 / 0.3 and minus == -plus
    assert found[id(things["new"])][0] == pytest.approx(plus / 2)
    assert found[id(things["9"])] == [0.0, 0.0]


async def test_stretches_hold_everything_once() -> None:
    assert [len(one) for one in stretches(range(2 * STRETCH + 3))] == [STRETCH, STRETCH, 3]
    assert list(stretches([])) == []
