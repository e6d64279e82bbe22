"""Deadlines on a clock that tests turn by hand."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.node.timer_wheel import LATE, RETRY_AFTER, STEP, TimerWheel
from tests.store.redis_process import until


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Item:
    """Notes when it was served; `then` are the deadlines it asks for, one after another."""

    def __init__(self, *then: float) -> None:
        self.slot = 0
        self.served: list[float] = []
        self.then = list(then)

    def on_time(self, now: float) -> float | None:
        self.served.append(now)
        return self.then.pop(0) if self.then else None


def turn_until(wheel: TimerWheel, clock: Clock, end: float) -> None:
    while clock.now < end:
        clock.now += STEP
        wheel.turn()


@given(st.lists(st.floats(-5, 20), min_size=1, max_size=20), st.floats(0, 0.3))
def test_each_deadline_is_served_once_and_in_time(delays: list[float], phase: float) -> None:
    """Never before it has passed, at most two steps after it; those in the past at the next turn."""
    clock = Clock(1000.0 + phase)
    wheel = TimerWheel(clock)
    start = clock.now
    items = [Item() for _ in delays]
    for item, delay in zip(items, delays, strict=True):
        wheel.set(item, start + delay)
    turn_until(wheel, clock, start + 25)
    for item, delay in zip(items, delays, strict=True):
        (served,) = item.served
        assert start + delay <= served <= max(start, start + delay) + 2 * STEP
        assert item.slot == 0


def test_a_moved_deadline_counts_alone() -> None:
    """The earlier one is forgotten; None takes the item out; setting it again brings it back."""
    clock = Clock()
    wheel, moved, removed = TimerWheel(clock), Item(), Item()
    for item in (moved, removed):
        wheel.set(item, 1001.0)
    wheel.set(moved, 1005.0)
    wheel.set(removed, None)
    turn_until(wheel, clock, 1004)
    assert moved.served == removed.served == []
    turn_until(wheel, clock, 1006)
    assert len(moved.served) == 1
    assert wheel._slots == {}


def test_an_item_asks_for_its_next_deadline() -> None:
    """What `on_time` returns is set."""
    clock = Clock()
    wheel, item = TimerWheel(clock), Item(1002.0, 1003.0)
    wheel.set(item, 1001.0)
    turn_until(wheel, clock, 1010)
    assert len(item.served) == 3


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_next_deadline_in_the_past_is_served_soon(steps: int) -> None:
    """An item that is behind is not forgotten, however many steps one turn makes up for."""
    clock = Clock()
    wheel, item = TimerWheel(clock), Item(900.0, 1000.1, 1001.0)
    wheel.set(item, 1000.1)
    clock.now += steps * STEP + STEP
    wheel.turn()
    turn_until(wheel, clock, 1010)
    assert len(item.served) == 4


def test_an_item_removed_by_another_one_is_not_put_back() -> None:
    """Serving one connection may end others."""
    clock = Clock()
    wheel, victim = TimerWheel(clock), Item()

    class Killer(Item):
        def on_time(self, now: float) -> float | None:
            wheel.set(victim, None)
            return None

    wheel.set(victim, 1005.0)
    wheel.set(Killer(), 1001.0)
    turn_until(wheel, clock, 1010)
    assert victim.served == []


@pytest.mark.asyncio
async def test_a_process_that_was_stopped_postpones() -> None:
    """After a long pause nobody is called late at once: the time that was left before it is left after it."""
    clock = Clock()
    wheel, item = TimerWheel(clock), Item()
    wheel.set(item, clock.now + 3)
    wheel.start()
    try:
        clock.now += 60
        await until(lambda: wheel._last >= int(clock.now / STEP))
        assert item.served == []
        clock.now += LATE
        turn_until(wheel, clock, 1060 + 2.5)
        assert item.served == []
        turn_until(wheel, clock, 1060 + 4)
        assert len(item.served) == 1
        wheel.set(item, clock.now + 1)
        wheel.set(item, None)
        assert wheel._slots == {}
    finally:
        wheel.stop()


@pytest.mark.asyncio
async def test_turns_by_itself_until_stopped() -> None:
    """On the loop's own time."""
    loop = asyncio.get_running_loop()
    wheel, item = TimerWheel(loop.time), Item()
    wheel.start()
    wheel.set(item, loop.time() + 0.1)
    await until(lambda: item.served)
    wheel.stop()
    assert wheel._timer is not None
    assert wheel._timer.cancelled()


def test_one_item_that_fails_takes_no_other_items_deadline_away() -> None:
    """It is logged and called again later; the others of its slot are served."""
    clock = Clock()
    wheel = TimerWheel(clock)

    class Broken(Item):
        def on_time(self, now: float) -> float | None:
            super().on_time(now)
            raise TypeError("?")

    items = [Item(), Broken(), Item(), Broken(), Item()]
    for item in items:
        wheel.set(item, clock.now + 1)
    clock.now += 2
    wheel.turn()
    assert [len(item.served) for item in items] == [1] * 5
    clock.now += RETRY_AFTER + 1
    wheel.turn()
    assert [len(item.served) for item in items] == [1, 2, 1, 2, 1]
