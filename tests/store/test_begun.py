"""Tasks that begin at once: what need not wait takes no turn of the loop, and the rest is a task like any other."""

import asyncio
from contextvars import ContextVar

import pytest

from flotilla.store.begun import begin

pytestmark = pytest.mark.asyncio

said: ContextVar[str] = ContextVar("said", default="")


async def test_what_need_not_wait_is_over_at_once() -> None:
    done = []

    async def work() -> None:
        done.append(asyncio.current_task())

    assert begin(work()) is None
    assert done[0] is not None and done[0] is not asyncio.current_task()  # it was a task of its own
    await asyncio.sleep(0)
    assert done[0].done() and len(done) == 1


async def test_the_rest_goes_on_in_the_same_task_and_context() -> None:
    seen, gate = [], asyncio.Event()

    async def work() -> str:
        said.set("inside")
        seen.append(asyncio.current_task())
        await gate.wait()
        seen.append(asyncio.current_task())
        return said.get()

    task = begin(work())
    assert task is not None
    assert said.get() == ""
    gate.set()
    assert await task == "inside"
    assert seen == [task, task]


async def test_the_one_who_begins_is_the_current_task_again() -> None:
    here = asyncio.current_task()

    async def fails() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        begin(fails())
    assert asyncio.current_task() is here
    await asyncio.sleep(0)


@pytest.mark.parametrize("turns", [0, 2])
async def test_it_is_told_that_it_is_cancelled(turns: int) -> None:
    """Before the loop has turned and after that."""
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = begin(work())
    assert task is not None
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_time_limits_hold_from_the_beginning() -> None:
    async def work() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return ""

    task = begin(work())
    assert task is not None
    assert await task == "late"


async def test_a_bare_turn_of_the_loop_is_waited_for() -> None:
    order = []

    async def work() -> None:
        order.append("begun")
        await asyncio.sleep(0)
        order.append("goes on")

    task = begin(work())
    order.append("caller")
    assert task is not None
    await task
    assert order == ["begun", "caller", "goes on"]
