"""Admission: so many at a time, in the order they came, and nobody can keep others out by saying nothing."""

import asyncio

import pytest

from realtime.engine import admission
from realtime.engine.admission import Admission


async def turns(times: int = 3) -> None:
    """Let what is ready run."""
    for _ in range(times):
        await asyncio.sleep(0)


def gate(most: int) -> Admission:
    return Admission(most, asyncio.get_running_loop().time)


async def test_who_comes_first_is_let_in_first() -> None:
    """As places are given back; twice counts once."""
    made = gate(2)
    inside = [await made.enter(), await made.enter()]
    order: list[int] = []

    async def come(number: int) -> None:
        await made.enter()
        order.append(number)

    comers = [asyncio.ensure_future(come(number)) for number in range(3)]
    await turns()
    assert (order, made.waiting) == ([], 3)
    made.leave(inside[0])
    made.leave(inside[0])
    await turns()
    assert (order, made.waiting) == ([0], 2)
    made.leave(inside[1])
    await turns()
    assert (order, made.waiting) == ([0, 1], 1)
    made.open()
    await asyncio.gather(*comers)
    assert order == [0, 1, 2]
    await made.enter()


async def test_who_gives_up_waiting_takes_no_place() -> None:
    """Neither while it waits nor in the moment in which its turn has come."""
    made = gate(1)
    ticket = await made.enter()
    gone, turned, last = (asyncio.ensure_future(made.enter()) for _ in range(3))
    await turns()
    gone.cancel()
    await turns()
    made.leave(ticket)
    turned.cancel()
    assert await asyncio.wait_for(last, 5)
    assert gone.cancelled() and turned.cancelled()
    assert made.waiting == 0


async def test_a_silent_client_keeps_its_place_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a few of them would keep everybody out."""
    monkeypatch.setattr(admission, "PATIENCE", 0.05)
    made = gate(1)
    first = await made.enter()
    second = await asyncio.wait_for(made.enter(), 5)
    made.leave(first)  # too late: the place is another's
    waiting = asyncio.ensure_future(made.enter())
    await turns()
    assert made.waiting == 1
    made.leave(second)
    await asyncio.wait_for(waiting, 5)


async def test_a_held_gate_lets_in_only_as_told() -> None:
    """A place that is given back lets nobody in, and whoever comes waits, though there is room."""
    made = gate(2)
    inside = [await made.enter(), await made.enter()]
    comers = [asyncio.ensure_future(made.enter()) for _ in range(3)]
    await turns()
    made.hold()
    for ticket in inside:
        made.leave(ticket)
    comers.append(asyncio.ensure_future(made.enter()))
    await turns()
    assert made.waiting == 4
    made.let_in(3)
    await turns()
    assert [comer.done() for comer in comers] == [True, True, True, False]
    made.open()
    await asyncio.gather(*comers)


async def test_everybody_let_in_is_counted() -> None:
    now = 50.0
    made = Admission(100, lambda: now)
    for _ in range(7):
        await made.enter()
    now = 52.0
    await made.enter()
    assert (made.peak.total, made.peak.most(now)) == (8, 7)
